package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/record"
)

// leaseKey is that of the record which says who collects by schedule now. It
// saves work and no more: two that both think they hold it do no harm.
const leaseKey = "leases/collection"

// leaseTime is how long a lease lasts that is not renewed. It is renewed when a
// third of it has passed.
const leaseTime = 10 * time.Minute

// leaseRecord is what leases/collection holds.
type leaseRecord struct {
	record.Header
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
	// Generation grows with each holder: a former one sees by it that it is one.
	Generation int64 `json:"generation"`
}

// errHeld says that another server collects.
var errHeld = errors.New("another server collects")

// A lease is one that this collector holds.
type lease struct {
	c          *Collector
	generation int64
}

// take takes the lease, also over from one who has not renewed it. By whom and
// until when it is held comes with errHeld. Errors: errHeld,
// bucket.ErrUnavailable.
func (c *Collector) take(ctx context.Context) (*lease, leaseRecord, error) {
	r, _, err := record.Update(ctx, c.store.Records(), leaseKey, time.Time{}, func(r *leaseRecord, _ bool) (bool, error) {
		now := c.store.Clock().Now().UTC()
		if r.Until.After(now) {
			return false, errHeld
		}
		r.Holder, r.Until = c.options.Holder, now.Add(leaseTime)
		r.Generation++
		return true, nil
	})
	if err != nil {
		return nil, r, err
	}
	return &lease{c, r.Generation}, r, nil
}

// change renews the lease, or gives it back. Errors: errHeld when another has
// taken it over.
func (l *lease) change(ctx context.Context, until time.Time) error {
	_, _, err := record.Update(ctx, l.c.store.Records(), leaseKey, time.Time{}, func(r *leaseRecord, _ bool) (bool, error) {
		if r.Generation != l.generation {
			return false, fmt.Errorf("%w: %s", errHeld, r.Holder)
		}
		r.Until = until
		return true, nil
	})
	return err
}

// hold calls do while it renews the lease, and gives it back then. When another
// takes the lease over, the context that do gets ends, since what do does would
// be done twice; unless it is to be done regardless.
func (l *lease) hold(ctx context.Context, regardless bool, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(leaseTime / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			switch err := l.change(ctx, l.c.store.Clock().Now().UTC().Add(leaseTime)); {
			case errors.Is(err, errHeld):
				if !regardless {
					cancel(err)
				}
				return
			case err != nil && ctx.Err() == nil:
				l.c.log.Warn("the lease of the collection was not renewed", "error", err)
			}
		}
	}()
	err := do(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errHeld) {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	<-done
	giveBack, stop := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer stop()
	if rerr := l.change(giveBack, l.c.store.Clock().Now().UTC()); rerr != nil && !errors.Is(rerr, errHeld) {
		l.c.log.Warn("the lease of the collection was not given back: others wait for its end", "error", rerr)
	}
	return err
}
