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
		m.bar = p.bars.New(d.Size,
			mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(m.label+"  ", decor.WCSyncSpaceR)),
			mpb.AppendDecorators(
				decor.CountersKiloByte("% .1f / % .1f", decor.WCSyncSpace),
				decor.EwmaSpeed(decor.SizeB1000(0), "  % .1f", 30),
			),
		)
	}
	return m
}

type meter struct {
	p     *progress
	step  transfer.Step
	desc  ocispec.Descriptor
	label string
	bar   *mpb.Bar

	mu   sync.Mutex
	last time.Time
	at   int64
}

func (m *meter) At(n int64) {
	if m.bar == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.last.IsZero() {
		m.last = now
	}
	// Bars that are full are taken away: the end is what End says.
	if n = min(n, m.desc.Size-1); n > m.at {
		m.bar.EwmaIncrInt64(n-m.at, now.Sub(m.last))
	} else {
		m.bar.SetCurrent(max(n, 0))
	}
	m.at, m.last = n, now
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
	s.bar = p.bars.New(total, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(label+"  ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f / % .1f", decor.WCSyncSpace)),
	)
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
