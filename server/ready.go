package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

const (
	// readyWithin is how long the bucket may take to answer a server that is
	// ready.
	readyWithin = 3 * time.Second
	// readyShared is for how long an answer counts. However many ask, the bucket
	// is asked once in that time.
	readyShared = time.Second
)

// readiness asks the bucket whether it answers, one call at a time, and lets all
// who ask meanwhile and soon after share the answer. Safe for concurrent use.
type readiness struct {
	bucket bucket.Bucket
	now    func() time.Time

	mu      sync.Mutex
	asking  chan struct{} // closed when the call under way is over; nil: none is
	last    error
	at      time.Time // when last was learnt; zero: never
	askings sync.WaitGroup
}

func newReadiness(b bucket.Bucket) *readiness { return &readiness{bucket: b, now: time.Now} }

// ask returns nil when the bucket answers, else why not. When ctx ends first it
// returns ctx's error.
func (r *readiness) ask(ctx context.Context) error {
	r.mu.Lock()
	if !r.at.IsZero() && r.now().Sub(r.at) < readyShared {
		defer r.mu.Unlock()
		return r.last
	}
	if r.asking == nil {
		r.asking = make(chan struct{})
		// Not with the context of who asked first: the answer is for all.
		r.askings.Go(r.call)
	}
	asking := r.asking
	r.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return fmt.Errorf("the bucket has not answered yet: %w", ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *readiness) call() {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	_, err := r.bucket.Clock(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.at = err, r.now()
	close(r.asking)
	r.asking = nil
}

// close waits for the call under way.
func (r *readiness) close() { r.askings.Wait() }
