package limit

import "time"

// A Pace finds out that a client sends or takes bytes too slowly to be worth what
// is held for it. Only time in which the server waits for the client counts. It
// is for one goroutine; the zero value finds nobody too slow.
type Pace struct {
	// Rate is the least number of bytes a second.
	Rate int64
	// Over is the time over which it must be reached: a client that waits for
	// once is not slow.
	Over time.Duration

	waited time.Duration
	bytes  int64
}

// Keeps counts n bytes for which the server waited, and says whether the client
// is fast enough so far.
func (p *Pace) Keeps(n int, waited time.Duration) bool {
	if p.Rate <= 0 {
		return true
	}
	p.bytes += int64(n)
	p.waited += waited
	if p.waited < p.Over {
		return true
	}
	enough := float64(p.bytes) >= float64(p.Rate)*p.waited.Seconds()
	p.waited, p.bytes = 0, 0
	return enough
}
