package blobstore

import (
	"context"
	"time"
)

// A Clock tells the time to everything in the store that depends on it, so that
// a test can turn it.
type Clock interface {
	// Now is the wall clock's time, without Go's monotonic reading: that one
	// stands still while a machine sleeps, and promises do not.
	Now() time.Time
	// Sleep returns nil after d, or ctx's error when that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the machine's clock.
type SystemClock struct{}

func (SystemClock) Now() time.Time { return time.Now().Round(0) }

func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
