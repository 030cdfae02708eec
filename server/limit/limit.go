// Package limit bounds what callers may ask of a server: how many requests at
// once and how many a second, each caller and all together; how many uploads;
// how many wrong passwords; how slowly bytes may come and go.
//
// A caller is who has logged in, or else the address that a request comes from;
// of an IPv6 address the first 64 bits, since a customer of a provider has all
// of these. A request is counted for its address first ([Limiter.Enter]), before
// anything is done for it, and for its subject once that is known
// ([Request.As]).
//
// The HTTP and the gRPC server ask one Limiter, so that a caller gains nothing
// by using both. It knows of a bounded number of callers, and forgets first who
// has been silent longest.
package limit

import (
	"errors"
	"fmt"
	"time"
)

// ErrTooMany is the class of every refusal; see [Error].
var ErrTooMany = errors.New("too many requests")

// An Error says what there was too much of, and when to come back.
type Error struct {
	What  string // "64 requests at once from 192.0.2.1"
	After time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: %s (try again in %s)", ErrTooMany, e.What, e.After.Round(time.Millisecond))
}

func (e *Error) Unwrap() error { return ErrTooMany }

// soon is when to come back for a place that another request holds.
const soon = time.Second

// Options of a Limiter. A number that is 0 means no limit.
type Options struct {
	// Requests is how many may be under way at once, in all.
	Requests int
	// RequestsPerCaller is the same for each caller.
	RequestsPerCaller int
	// Rate is how many may begin a second, in all. After a pause up to a second's
	// worth may come at once.
	Rate int
	// RatePerCaller is the same for each caller.
	RatePerCaller int
	// Uploads is how many requests that bring the bytes of a blob may be under way
	// at once, in all.
	Uploads int
	// UploadsPerCaller is the same for each caller.
	UploadsPerCaller int
	// Logins is how many wrong passwords a minute may come from an address. After
	// that its requests with passwords are refused unseen.
	Logins int
	// Callers is how many are remembered: 10,000. Those with requests under way
	// always are.
	Callers int
	// Now is the clock: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Callers == 0 {
		o.Callers = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
