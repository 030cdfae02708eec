package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/laminastore/lamina/client/transfer"
)

// progress shows how blobs move: a bar for each on a terminal, and in any case a
// line for each that has arrived. It goes to standard error.
type progress struct {
	out    io.Writer
	bars   *mpb.Progress // nil when out is no terminal
	quiet  bool
	closed sync.Once

	mu sync.Mutex
}

func (a *app) progress(cmd *cobra.Command) *progress {
	quiet, _ := cmd.Flags().GetBool("quiet")
	p := &progress{out: a.err, quiet: quiet}
	if f, ok := a.err.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40), mpb.WithRefreshRate(120*time.Millisecond))
	}
	return p
}

// close takes the bars away. What is printed after it does not get between them.
func (p *progress) close() {
	p.closed.Do(func() {
		if p.bars != nil {
			p.bars.Shutdown()
		}
	})
}

// say prints a line.
func (p *progress) say(line string) {
	if p.quiet {
		return
	}
	if p.bars != nil {
		if _, err := io.WriteString(p.bars, line+"\n"); err == nil {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, line)
}

func (p *progress) Plan(all, missing []ocispec.Descriptor) {
	if there := len(all) - len(missing); there > 0 {
		p.say(fmt.Sprintf("%d of %s are there already", there, count(len(all), "blob")))
	}
}

func (p *progress) Begin(s transfer.Step, d ocispec.Descriptor) transfer.Meter {
	m := &meter{p: p, step: s, desc: d, label: "copy " + newShortener().short(string(d.Digest))}
	if s == transfer.Compress {
		m.label = "compress a layer"
	}
	if p.bars != nil {
		m.bar = p.bar(m.label, d.Size)
	}
	return m
}

// bar adds a bar, which whoever asked for it aborts. It counts bytes; a total of
// 0 is not known.
func (p *progress) bar(label string, total int64) *mpb.Bar {
	began := time.Now()
	return p.bars.New(total,
		mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(label, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			text := "  " + size(s.Current)
			if s.Total > 0 {
				text += " of " + size(s.Total)
			}
			if t := time.Since(began); t > time.Second {
				text += ", " + size(int64(float64(s.Current)/t.Seconds())) + "/s"
			}
			return text
		})),
	)
}

type meter struct {
	p     *progress
	step  transfer.Step
	desc  ocispec.Descriptor
	label string
	bar   *mpb.Bar
}

func (m *meter) At(n int64) {
	if m.bar != nil {
		// A bar that is full counts as ended, which End says.
		m.bar.SetCurrent(max(min(n, m.desc.Size-1), 0))
	}
}

func (m *meter) End(err error) {
	if m.bar != nil {
		m.bar.Abort(true)
	}
	if err != nil {
		return
	}
	switch m.step {
	case transfer.Compress:
		m.p.say(fmt.Sprintf("compressed a layer of %s", size(m.desc.Size)))
	default:
		m.p.say(fmt.Sprintf("%s  %s", m.label, size(m.desc.Size)))
	}
}

// step shows one piece of work that is not a blob; total is 0 where it is not
// known.
func (p *progress) step(label string, total int64) *stepBar {
	s := &stepBar{p: p, label: label}
	if p.bars == nil {
		return s
	}
	s.bar = p.bar(label, total)
	return s
}

type stepBar struct {
	p     *progress
	label string
	bar   *mpb.Bar
	done  int64
}

func (s *stepBar) at(done, total int64) {
	s.done = max(done, s.done)
	if s.bar != nil {
		s.bar.SetTotal(total, false)
		s.bar.SetCurrent(done)
	}
}

func (s *stepBar) end() {
	if s.bar != nil {
		s.bar.Abort(true)
	}
	line := s.label
	if s.done > 0 {
		line += "  " + size(s.done)
	}
	s.p.say(line)
}
