// Package count is a decorator that counts the calls a bucket gets. A call is
// what an S3 provider would bill: a listing counts once for each page of 1,000
// keys, a deletion once for each 1,000 keys.
package count

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// page is how many keys one call lists or deletes.
const page = 1000

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
	bucket.Bucket
	mu    sync.Mutex
	calls Calls
	log   []string
}

// logged bounds the calls whose keys are remembered.
const logged = 10_000

// New returns b with its calls counted, without the optional contracts it may
// keep; Whole has these.
func New(b bucket.Bucket) *Bucket { return &Bucket{Bucket: b} }

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

func (b *Bucket) count(n *int64, kind, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n++
	if len(b.log) < logged {
		b.log = append(b.log, kind+" "+key)
	}
}

// Get implements bucket.Reader.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	b.count(&b.calls.Get, "get", key)
	return b.Bucket.Get(ctx, key, off, n)
}

// Stat implements bucket.Reader.
func (b *Bucket) Stat(ctx context.Context, key string) (bucket.Info, error) {
	b.count(&b.calls.Stat, "stat", key)
	return b.Bucket.Stat(ctx, key)
}

// Put implements bucket.Writer.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	b.count(&b.calls.Put, "put", key)
	return b.Bucket.Put(ctx, key, r, size, cond)
}

// List implements bucket.Lister.
func (b *Bucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		b.count(&b.calls.List, "list", prefix)
		n := 0
		for info, err := range b.Bucket.List(ctx, prefix, startAfter) {
			if n++; n > 1 && n%page == 1 {
				b.count(&b.calls.List, "list", prefix)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements bucket.Deleter.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for i := 0; i < len(keys); i += page {
		b.count(&b.calls.Delete, "delete", strings.Join(keys[i:min(i+page, len(keys))], " "))
	}
	return b.Bucket.Delete(ctx, keys...)
}

// CreateMultipart implements bucket.Multiparter.
func (b *Bucket) CreateMultipart(ctx context.Context, key string) (string, error) {
	b.count(&b.calls.Create, "create", key)
	return b.Bucket.CreateMultipart(ctx, key)
}

// PutPart implements bucket.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	b.count(&b.calls.Part, "part", key)
	return b.Bucket.PutPart(ctx, key, id, n, r, size)
}

// CompleteMultipart implements bucket.Multiparter.
func (b *Bucket) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	b.count(&b.calls.Complete, "complete", key)
	return b.Bucket.CompleteMultipart(ctx, key, id, parts, cond)
}

// AbortMultipart implements bucket.Multiparter.
func (b *Bucket) AbortMultipart(ctx context.Context, key, id string) error {
	b.count(&b.calls.AbortMPU, "abort", key)
	return b.Bucket.AbortMultipart(ctx, key, id)
}

// Clock implements bucket.Bucket.
func (b *Bucket) Clock(ctx context.Context) (time.Time, error) {
	b.count(&b.calls.Clock, "clock", "")
	return b.Bucket.Clock(ctx)
}
