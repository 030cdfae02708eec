package collect

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// again is how long Loop waits after a failure, at most.
	again = time.Hour
	// jitterPart is the part of the wait by which servers differ, so that they do
	// not all ask for the lease in the same moment.
	jitterPart = 20
)

// Loop runs a cycle every Options.Every until ctx ends, as long as no other
// server does: see the lease. Failures are logged, and kept for Last. The first
// cycle that is due begins a while after Loop does.
func (c *Collector) Loop(ctx context.Context) {
	var wait time.Duration
	for {
		wait += time.Duration(rand.Int64N(int64(c.options.Every)/jitterPart + 1))
		if c.store.Clock().Sleep(ctx, wait) != nil {
			return
		}
		wait = c.turn(ctx)
	}
}

// turn runs a cycle if it is time for one and no other server does, and returns
// how long to wait for the next turn.
func (c *Collector) turn(ctx context.Context) time.Duration {
	retry := min(again, c.options.Every)
	s, err := c.stats(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("nobody knows when the last collection was", "error", err)
		}
		return retry
	}
	now := c.store.Clock().Now()
	if wait := c.due(&s).Sub(now); wait > 0 {
		return wait
	}
	l, held, err := c.take(ctx)
	switch {
	case errors.Is(err, errHeld):
		return min(held.Until.Sub(now)+time.Second, retry)
	case err != nil:
		if ctx.Err() == nil {
			c.log.Warn("the lease of the collection cannot be had", "error", err)
		}
		return retry
	}
	full := now.Sub(s.Full) >= c.options.FullEvery
	err = l.hold(ctx, false, func(ctx context.Context) error {
		// Somebody may have finished one between the look and the lease.
		if s, err := c.stats(ctx); err != nil || c.due(&s).After(now) {
			return err
		}
		_, err := c.cycle(ctx, RunOptions{Full: full, Progress: c.options.Progress})
		return err
	})
	if err != nil {
		return retry
	}
	return c.options.Every
}

// due is when the next cycle is to begin.
func (c *Collector) due(s *statsRecord) time.Time {
	switch {
	case s.Last.Began.IsZero():
		return time.Time{}
	case s.Last.Error != "":
		return s.Last.Began.Add(min(again, c.options.Every))
	default:
		return s.Last.Began.Add(c.options.Every)
	}
}

// cycle runs one, logs how it went, and keeps its report.
func (c *Collector) cycle(ctx context.Context, o RunOptions) (Report, error) {
	cy := c.newCycle(o, false)
	defer cy.close()
	s, err := c.stats(ctx)
	if err != nil {
		return Report{}, err
	}
	cy.last = s.done()
	err = cy.run(ctx)
	return cy.end(ctx, err)
}
