package probe

import (
	"context"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

const lateIgnored = "the time after which a write must not take effect (the expiry of a presigned URL)"

// patience is how far the bucket's clock may be behind for a late write to be
// waited for.
const patience = 10 * time.Second

// prepareLate returns what tries whether a late write is refused.
func (p *probe) prepareLate() (func() error, error) {
	if !p.b.Features().RefusesLateWrites {
		return func() error { return nil }, nil
	}
	w, ok := p.b.(bucket.LateWriter)
	if !ok {
		return p.putLate, nil
	}
	if p.report.Skew < -patience {
		return func() error { return nil }, nil // it would be late there only in minutes
	}
	// The shortest time that can be said: URLs expire after whole seconds.
	notAfter := p.now().Round(0).Add(2 * time.Second).Truncate(time.Second)
	key := p.root + "late"
	p.used[key] = true
	send, err := w.PrepareLate(p.ctx, key, []byte("late"), notAfter)
	if err != nil {
		return nil, err
	}
	return func() error { return p.sendLate(send, notAfter) }, nil
}

// putLate is for buckets that look at a clock of this host themselves.
func (p *probe) putLate() error {
	_, err := p.put("late", "late", bucket.Condition{NotAfter: p.now().Add(-MaxSkew - time.Minute)})
	return p.lateRefused(err)
}

// sendLate sends a write when it is too late by the bucket's clock.
func (p *probe) sendLate(send func(context.Context) error, notAfter time.Time) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := p.b.Clock(p.ctx)
		if err != nil {
			return err
		}
		if now.After(notAfter) {
			return p.lateRefused(send(p.ctx))
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func (p *probe) lateRefused(err error) error {
	if err := refuses(err, bucket.ErrTooLate, lateIgnored); err != nil {
		return err
	}
	p.report.RefusesLateWrites = true
	return nil
}
