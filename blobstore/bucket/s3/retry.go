package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// maxTries is how often a call is made.
const maxTries = 7

// retry says when to make a call again.
type retry struct {
	tries        int
	first, limit time.Duration // pauses, before they are made random
	// asked is the longest pause that the bucket may ask for. Some ask for a
	// minute whatever the matter is (MinIO), and by then our callers have gone.
	asked time.Duration
}

// defaultRetry gives up after some 10 s: the caller's own callers wait.
var defaultRetry = retry{tries: maxTries, first: 100 * time.Millisecond, limit: 5 * time.Second, asked: 2 * time.Second}

// withPause returns r with the first pause set, if it is not 0, and no other
// longer than 50 times that.
func (r retry) withPause(first time.Duration) retry {
	if first > 0 {
		r.first, r.limit, r.asked = first, 50*first, 20*first
	}
	return r
}

// do makes a call, again if that may help, and gives its error a class and the
// names of the operation and the key. call must be fit to be called again.
func (b *Bucket) do(ctx context.Context, op, key string, call func(ctx context.Context, r *reply) error) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.Multiplier = b.retry.first, b.retry.limit, 2
	var unclear error // what the last try failed with that may have taken effect
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return b.fail(op, key, err)
		}
		trying, r := listen(ctx)
		err := call(trying, r)
		if err == nil {
			return nil
		}
		if ended := ctx.Err(); ended != nil {
			return b.fail(op, key, ended)
		}
		class, again := classify(err)
		if !again {
			if unclear != nil && errors.Is(class, bucket.ErrTooLate) {
				class = fmt.Errorf("%w: it is too late to try again after: %w", bucket.ErrUnavailable, unclear)
			}
			return b.fail(op, key, class)
		}
		if try == b.retry.tries {
			return b.fail(op, key, fmt.Errorf("%w (tried %d times)", class, try))
		}
		unclear = err
		if err := pause(ctx, max(pauses.NextBackOff(), min(r.retryAfter, b.retry.asked))); err != nil {
			return b.fail(op, key, fmt.Errorf("%w, after: %w", err, class))
		}
	}
}

// pause waits for d, unless ctx ends or would end before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fail wraps an error with the operation, the key and the bucket.
func (b *Bucket) fail(op, key string, err error) error {
	if key == "" {
		return fmt.Errorf("%s %s: %w", op, b.url, err)
	}
	return fmt.Errorf("%s %s in %s: %w", op, key, b.url, err)
}
