// Package count is a decorator that counts the calls a bucket gets. A call is
// what an S3 provider would bill: a listing counts once for each page of 1,000
// keys, a deletion once for each 1,000 keys.
package count

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/observe"
)

// Calls are numbers of calls, by kind.
type Calls struct {
	Get, Stat, Put, List, Delete     int64
	Create, Part, Complete, AbortMPU int64
	Clock                            int64
}

// Total is the sum of all kinds.
func (c Calls) Total() int64 {
	return c.Get + c.Stat + c.Put + c.List + c.Delete + c.Create + c.Part + c.Complete + c.AbortMPU + c.Clock
}

// Sub is what has come since old.
func (c Calls) Sub(old Calls) Calls {
	return Calls{
		Get: c.Get - old.Get, Stat: c.Stat - old.Stat, Put: c.Put - old.Put, List: c.List - old.List, Delete: c.Delete - old.Delete,
		Create: c.Create - old.Create, Part: c.Part - old.Part, Complete: c.Complete - old.Complete, AbortMPU: c.AbortMPU - old.AbortMPU,
		Clock: c.Clock - old.Clock,
	}
}

func (c Calls) String() string {
	return fmt.Sprintf("%d calls: get %d, stat %d, put %d, list %d, delete %d, multipart create %d, part %d, complete %d, abort %d, clock %d",
		c.Total(), c.Get, c.Stat, c.Put, c.List, c.Delete, c.Create, c.Part, c.Complete, c.AbortMPU, c.Clock)
}

// A Bucket counts the calls of the bucket inside it. Safe for concurrent use.
type Bucket struct {
	bucket.Bucket // observed
	mu            sync.Mutex
	calls         Calls
	log           []string
}

// logged bounds the calls whose keys are remembered.
const logged = 10_000

// New returns b with its calls counted, without the optional contracts it may
// keep; Whole has these.
func New(b bucket.Bucket) *Bucket {
	c := &Bucket{}
	c.Bucket = observe.New(b, counter{c})
	return c
}

// Whole is b with those of the optional contracts bucket.ConditionalDeleter,
// bucket.Presigner and bucket.Spooler that the bucket inside keeps.
func (b *Bucket) Whole() bucket.Bucket { return b.Bucket }

// Snapshot returns the calls so far.
func (b *Bucket) Snapshot() Calls {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// Reset sets the counts to zero and forgets the log.
func (b *Bucket) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls, b.log = Calls{}, nil
}

// Log returns the first 10,000 calls since the last Reset, in their order, as
// "kind key".
func (b *Bucket) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.log, "\n")
}

// A counter is the observer of what a Bucket observes.
type counter struct{ to *Bucket }

// Begin implements observe.Observer.
func (o counter) Begin(ctx context.Context, c observe.Call) (context.Context, func(time.Duration, error)) {
	b := o.to
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.calls.of(c.Kind)
	// Of no keys there is nothing to delete, and no call.
	for keys := range slices.Chunk(c.Keys, observe.PageSize) {
		b.count(n, string(c.Kind)+" "+strings.Join(keys, " "))
	}
	if c.Kind == observe.Clock {
		b.count(n, "clock ")
	}
	return ctx, func(time.Duration, error) {}
}

// Read implements observe.Observer.
func (counter) Read(int64, error) {}

func (b *Bucket) count(n *int64, line string) {
	*n++
	if len(b.log) < logged {
		b.log = append(b.log, line)
	}
}

// of is where calls of a kind are counted; a conditional delete is a delete,
// and a listing of uploads a listing.
func (c *Calls) of(k observe.Kind) *int64 {
	switch k {
	case observe.Get:
		return &c.Get
	case observe.Stat:
		return &c.Stat
	case observe.Put:
		return &c.Put
	case observe.List, observe.Uploads:
		return &c.List
	case observe.Delete, observe.DeleteIf:
		return &c.Delete
	case observe.Create:
		return &c.Create
	case observe.Part:
		return &c.Part
	case observe.Complete:
		return &c.Complete
	case observe.Abort:
		return &c.AbortMPU
	case observe.Clock:
		return &c.Clock
	}
	panic("count: a call of kind " + string(k))
}
