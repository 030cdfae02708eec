// Package usage says what is stored, what is shared, and by whom, as the last
// mark of a collection counted it (package collect).
//
// A count is a picture of a store that goes on changing meanwhile, not of one
// moment. Its result is kept in the bucket (stats/usage) until the next. It is
// exact however much there is: what the images name is sorted on disk, and some
// 200 bytes for each repository are kept in memory.
package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

// Options of a Counter.
type Options struct {
	// Realms tells the realm of each repository: who shares what is counted
	// inside each.
	Realms realm.Map
	// Temp is the folder for sorted names, some 60 bytes for each time that a
	// manifest names a blob: os.TempDir().
	Temp   string
	Logger *slog.Logger // slog.Default()
}

// A Counter counts, one count that somebody has asked for at a time. Safe for
// concurrent use.
type Counter struct {
	store  *blobstore.Store
	log    *slog.Logger
	realms realm.Map
	temp   string
	mark   func(ctx context.Context) error

	mu      sync.Mutex
	running *count // nil while nobody counts
}

// A count is one that runs, and its result once done is closed.
type count struct {
	done   chan struct{}
	result Usage
	err    error
}

// New returns a Counter. It holds nothing that needs closing. The collector is
// given its Tally, and it is given the collector's Count with MarkWith before
// it is used.
func New(s *blobstore.Store, o Options) *Counter {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Counter{store: s, log: o.Logger, realms: o.Realms, temp: o.Temp}
}

// MarkWith has Get count by mark, which tells a Tally what it finds.
func (c *Counter) MarkWith(mark func(ctx context.Context) error) { c.mark = mark }

const key = "stats/usage"

// Get returns what the last mark counted, or counts now when refresh is set or
// there is no count, or the realms have changed since. Counting reads every
// manifest, lists every blob and reads the records of those that nothing names; it
// changes nothing. Calls that want a count while one runs share it. Errors:
// bucket.ErrUnavailable, blobstore.ErrCorrupt when a manifest is damaged; ctx's
// error.
func (c *Counter) Get(ctx context.Context, refresh bool) (Usage, error) {
	if !refresh {
		r, _, err := record.Read[usageRecord](ctx, c.store.Records(), key)
		if !errors.Is(err, bucket.ErrNotExist) && (err != nil || r.Realms == mapDigest(c.realms)) {
			return r.usage(), err
		}
	}
	return c.shared(ctx)
}

// shared counts, or waits for the count that runs. One that fails because
// whoever began it has gone away is begun again.
func (c *Counter) shared(ctx context.Context) (Usage, error) {
	for {
		c.mu.Lock()
		run := c.running
		mine := run == nil
		if mine {
			run = &count{done: make(chan struct{})}
			c.running = run
		}
		c.mu.Unlock()
		if mine {
			run.result, run.err = c.count(ctx)
			c.mu.Lock()
			c.running = nil
			c.mu.Unlock()
			close(run.done)
			return run.result, run.err
		}
		select {
		case <-run.done:
			if !errors.Is(run.err, context.Canceled) && !errors.Is(run.err, context.DeadlineExceeded) {
				return run.result, run.err
			}
		case <-ctx.Done():
			return Usage{}, ctx.Err()
		}
	}
}

// count counts, and returns what was kept then: this count, or one that another
// server has begun later.
func (c *Counter) count(ctx context.Context) (Usage, error) {
	if err := c.mark(ctx); err != nil {
		return Usage{}, err
	}
	r, _, err := record.Read[usageRecord](ctx, c.store.Records(), key)
	return r.usage(), err
}

// keep writes a count, unless one is there that was begun later.
func (c *Counter) keep(ctx context.Context, u Usage) error {
	next := recordOf(u)
	next.Realms = mapDigest(c.realms)
	_, _, err := record.Update(ctx, c.store.Records(), key, time.Time{}, func(r *usageRecord, exists bool) (bool, error) {
		if exists && r.CountedAt.After(u.CountedAt) {
			return false, nil
		}
		h := r.Header
		*r = *next
		r.Header = h
		return true, nil
	})
	if err == nil {
		c.log.Info("counted what is stored", "blobs", u.Blobs, "manifests", u.Manifests, "stored", u.Stored, "unnamed", u.Unnamed)
	}
	return err
}
