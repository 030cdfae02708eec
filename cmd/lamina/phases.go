package main

import (
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// phases shows how a collection or a verification gets on: a bar for the phase of
// the moment on a terminal, and in any case a line for each that has ended. It
// belongs to one goroutine.
type phases struct {
	p     *progress
	words map[string]string // what a phase is called for people
	bytes string            // what its bytes are: "freed", "read"
	bar   *mpb.Bar
	last  *pb.MaintenanceProgress // of the phase of the moment
	began time.Time
}

func (p *progress) phases(bytes string, words map[string]string) *phases {
	return &phases{p: p, bytes: bytes, words: words}
}

func (s *phases) at(m *pb.MaintenanceProgress) {
	if s.last == nil || s.last.Phase != m.Phase {
		s.end()
		s.began = time.Now()
		if s.p.bars != nil {
			s.bar = s.open(m)
		}
	}
	s.last = m
	if s.bar != nil {
		// A bar that is full counts as ended, which end says.
		total := max(m.Total, m.Done+1)
		if m.Total == 0 {
			total = 0
		}
		s.bar.SetTotal(total, false)
		s.bar.SetCurrent(m.Done)
	}
}

func (s *phases) open(m *pb.MaintenanceProgress) *mpb.Bar {
	return s.p.bars.New(m.Total,
		mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(s.name(m), decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return "  " + s.numbers(s.last) })),
	)
}

func (s *phases) name(m *pb.MaintenanceProgress) string {
	if w, ok := s.words[m.Phase]; ok {
		return w
	}
	return printable(m.Phase)
}

// numbers are how far a phase is.
func (s *phases) numbers(m *pb.MaintenanceProgress) string {
	text := fmt.Sprint(m.Done)
	if m.Total > m.Done {
		text += fmt.Sprintf(" of about %d", m.Total)
	}
	if m.Bytes > 0 {
		text += ", " + size(m.Bytes)
		if m.TotalBytes > m.Bytes {
			text += " of about " + size(m.TotalBytes)
		}
		text += " " + s.bytes
	}
	return text
}

// end ends the phase of the moment.
func (s *phases) end() {
	if s.bar != nil {
		s.bar.Abort(true)
		s.bar = nil
	}
	if s.last != nil && s.last.Done > 0 {
		m := s.last
		m.Total, m.TotalBytes = 0, 0
		s.p.say(s.name(m) + "  " + s.numbers(m))
	}
	s.last = nil
}
