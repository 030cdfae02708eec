package transfer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// resumeTries is how often in a row reading goes on where a connection broke,
// without a byte in between.
const resumeTries = 6

// resuming is a reader that outlives its connections.
type resuming struct {
	ctx   context.Context
	open  func(ctx context.Context, offset int64) (io.ReadCloser, error)
	rc    io.ReadCloser
	pos   int64
	tries int
	wait  *backoff.ExponentialBackOff
}

func newResuming(ctx context.Context, offset int64, open func(context.Context, int64) (io.ReadCloser, error)) (*resuming, error) {
	rc, err := open(ctx, offset)
	if err != nil {
		return nil, err
	}
	return &resuming{ctx: ctx, open: open, rc: rc, pos: offset, wait: backoff.NewExponentialBackOff()}, nil
}

func (r *resuming) Read(p []byte) (int, error) {
	for {
		n, err := r.rc.Read(p)
		r.pos += int64(n)
		if n > 0 {
			r.tries = 0
			r.wait.Reset()
		}
		switch {
		case err == nil || err == io.EOF: // one that is cut off ends otherwise
			return n, err
		case n > 0: // what came counts; the error comes again
			return n, nil
		case r.ctx.Err() != nil:
			return 0, r.ctx.Err()
		}
		if err := r.reopen(err); err != nil {
			return 0, err
		}
	}
}

// reopen goes on after cause.
func (r *resuming) reopen(cause error) error {
	for {
		r.tries++
		if r.tries > resumeTries {
			return cause
		}
		if err := sleep(r.ctx, r.wait.NextBackOff()); err != nil {
			return err
		}
		rc, err := r.open(r.ctx, r.pos)
		if err == nil {
			r.rc.Close()
			r.rc = rc
			return nil
		}
		if e, ok := errors.AsType[*transport.Error](err); ok && e.StatusCode < 500 && e.StatusCode != http.StatusTooManyRequests {
			return err // the registry means it
		}
		cause = err
	}
}

func (r *resuming) Close() error { return r.rc.Close() }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
