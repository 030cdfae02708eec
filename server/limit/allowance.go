package limit

import (
	"math"
	"time"
)

// An allowance is how often something may happen: most times at once, and as
// many again each period.
type allowance struct {
	most   float64 // 0: as often as one likes
	period time.Duration
}

// A spent is how much of an allowance is used up. The zero value is nothing.
type spent struct {
	n  float64 // as it was
	at time.Time
}

// now is how much is spent now. A clock that goes back changes nothing.
func (s spent) now(a allowance, now time.Time) float64 {
	if passed := now.Sub(s.at); passed > 0 {
		return max(0, s.n-a.most*passed.Seconds()/a.period.Seconds())
	}
	return s.n
}

// wait is how long it takes until there is one left; 0: there is.
func (s spent) wait(a allowance, now time.Time) time.Duration {
	if a.most == 0 {
		return 0
	}
	over := s.now(a, now) + 1 - a.most
	if over <= 1e-9 { // the fractions of many small steps do not add up
		return 0
	}
	return time.Duration(math.Ceil(over / a.most * float64(a.period)))
}

// add spends n; a negative n gives back.
func (s *spent) add(a allowance, now time.Time, n float64) {
	if a.most == 0 {
		return
	}
	left := max(0, s.now(a, now)+n)
	if now.Before(s.at) {
		now = s.at
	}
	s.n, s.at = left, now
}
