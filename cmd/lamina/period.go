package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A period is a flag for a time that may be long, as in 24h, 30d or 1h30m. One that
// may be off takes that word, or 0, and is negative then.
type period struct {
	d        time.Duration
	mayBeOff bool
}

func addPeriod(f *pflag.FlagSet, name string, d time.Duration, mayBeOff bool, usage string) *time.Duration {
	p := &period{d, mayBeOff}
	f.Var(p, name, usage)
	return &p.d
}

const day = 24 * time.Hour

func (p *period) Set(s string) error {
	if p.mayBeOff && (s == "off" || s == "0") {
		p.d = -1
		return nil
	}
	d, err := parsePeriod(s)
	if err != nil {
		return err
	}
	p.d = d
	return nil
}

// parsePeriod reads what time.ParseDuration does, and days before it.
func parsePeriod(s string) (time.Duration, error) {
	bad := fmt.Errorf("%.40q is no time, as in 36h or 30d", s)
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, bad
	}
	d := time.Duration(n) * day
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 || more > 1000*day {
			return 0, bad
		}
		d += more
	}
	if d == 0 {
		return 0, bad
	}
	return d, nil
}

// String is what Set reads: whole days over 3 as days, and no zeros at the end.
func (p *period) String() string {
	switch {
	case p.d < 0:
		return "off"
	case p.d > 3*day && p.d%day == 0:
		return fmt.Sprintf("%dd", p.d/day)
	}
	s := p.d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (p *period) Type() string { return "time" }
