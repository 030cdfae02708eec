package blobstore

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A reaper deletes objects that nothing needs any more, many with one call. An
// object that it does not come to is found by the sweep.
type reaper struct {
	bucket bucket.Bucket
	clock  Clock
	log    *slog.Logger
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	keys   []string
	wake   chan struct{} // has one element when keys became non-empty
	closed bool
}

const (
	reapDelay = 2 * time.Second // for more to come together
	reapMost  = 1000            // keys that one call deletes
	reapQueue = 10_000          // keys waiting; what comes above is left to the sweep
)

func newReaper(b bucket.Bucket, c Clock, log *slog.Logger) *reaper {
	ctx, stop := context.WithCancel(context.Background())
	r := &reaper{bucket: b, clock: c, log: log, stop: stop, wake: make(chan struct{}, 1)}
	r.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.wake:
			}
			if r.clock.Sleep(ctx, reapDelay) != nil {
				return
			}
			_ = r.flush(context.WithoutCancel(ctx)) // close waits for it
		}
	})
	return r
}

func (r *reaper) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.keys) >= reapQueue {
		return
	}
	r.keys = append(r.keys, key)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reaper) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		n := min(len(r.keys), reapMost)
		keys := r.keys[:n:n]
		r.keys = r.keys[n:]
		r.mu.Unlock()
		if n == 0 {
			return nil
		}
		reaping.Hit()
		if err := r.bucket.Delete(ctx, keys...); err != nil {
			r.log.Warn("records of ended uploads stay until the next collection", "records", n, "error", err)
			return err
		}
	}
}

func (r *reaper) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.done.Wait()
	return r.flush(ctx)
}
