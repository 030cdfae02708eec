package main

import (
	"testing"
	"time"
)

func TestPeriods(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"24h": day, "30d": 30 * day, "1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour, "72h": 3 * day, "90s": 90 * time.Second,
	} {
		var p period
		if err := p.Set(s); err != nil || p.d != want {
			t.Errorf("%s: %v (%v)", s, p.d, err)
		}
		var again period
		if err := again.Set(p.String()); err != nil || again.d != p.d {
			t.Errorf("%s is printed as %s, which is %v (%v)", s, p.String(), again.d, err)
		}
	}
	for s, want := range map[string]string{"24h": "24h", "30d": "30d", "720h": "30d", "1h30m0s": "1h30m", "10m": "10m", "30m10s": "30m10s", "off": "off", "0": "off"} {
		p := period{mayBeOff: true}
		if err := p.Set(s); err != nil || p.String() != want {
			t.Errorf("%s is printed as %s, want %s (%v)", s, p.String(), want, err)
		}
	}
	for _, s := range []string{"", "d", "-1h", "1", "x", "off", "0", "0d", "99999d", "1d-1h", "1dd", "d1h", "+1d"} {
		if err := new(period).Set(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}
