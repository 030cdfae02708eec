package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// asked is a bucket that counts who asks it for the time, and answers when it is
// let.
type asked struct {
	*memory.Bucket
	times  atomic.Int64
	answer func(ctx context.Context) error
}

func (a *asked) Clock(ctx context.Context) (time.Time, error) {
	a.times.Add(1)
	return time.Time{}, a.answer(ctx)
}

func TestManyProbesAreOneCallToTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fmt.Errorf("test: %w", bucket.ErrUnavailable)
		let := make(chan error)
		b := &asked{Bucket: memory.New(memory.Options{}), answer: func(context.Context) error { return <-let }}
		r := newReadiness(b)
		expect := func(want error, calls int64) {
			t.Helper()
			var g sync.WaitGroup
			for range 100 {
				g.Go(func() {
					if err := r.ask(t.Context()); !errors.Is(err, want) || want == nil && err != nil {
						t.Errorf("answered %v, want %v", err, want)
					}
				})
			}
			synctest.Wait()
			select {
			case let <- want:
			default: // nobody asks the bucket
			}
			g.Wait()
			if n := b.times.Load(); n != calls {
				t.Errorf("%d calls to the bucket, want %d", n, calls)
			}
		}
		expect(nil, 1)
		expect(nil, 1) // shared
		time.Sleep(readyShared)
		expect(away, 2)
		expect(away, 2)
		time.Sleep(readyShared)
		expect(nil, 3)
		r.close()
	})
}

func TestWhoStopsAskingDoesNotSpoilTheAnswerOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &asked{Bucket: memory.New(memory.Options{}), answer: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		r := newReadiness(b)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.ask(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// A bucket that hangs is not ready, after readyWithin.
		if err := r.ask(t.Context()); !errors.Is(err, context.DeadlineExceeded) || b.times.Load() != 1 {
			t.Errorf("%v after %d calls", err, b.times.Load())
		}
		r.close()
	})
}
