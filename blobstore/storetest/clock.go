// Package storetest has what the tests of the packages on top of the store
// share: a clock that tests turn, a bucket that loses answers and stops calls
// on the way, and small images. Only tests import it.
package storetest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// A Clock stands still until it is turned. Whoever sleeps turns it, and goes
// on at once.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows noon of the first of March 2026.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Turn turns the clock forward.
func (c *Clock) Turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Sleep turns the clock by d.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.Turn(d)
	return ctx.Err()
}

// NewBucket returns an empty bucket in memory whose time is the clock's, and
// whose smallest part is small.
func NewBucket(c *Clock) *memory.Bucket {
	return memory.New(memory.Options{Now: c.Now, MinPart: 64 << 10})
}

// Open opens a store on b, as one server does, and closes it with the test.
func Open(t testing.TB, b bucket.Bucket, c *Clock) *blobstore.Store {
	t.Helper()
	s := blobstore.New(b, blobstore.Options{Clock: c, Logger: Quiet()})
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// Quiet is a logger that says nothing.
func Quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
