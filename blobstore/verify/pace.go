package verify

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/laminastore/lamina/blobstore"
)

// readSize is how many bytes are read and hashed at a time.
const readSize = 1 << 20

// A pace bounds the bytes that all readers together take in a second, by the
// store's clock. A nil pace does not.
type pace struct {
	clock   blobstore.Clock
	limiter *rate.Limiter
}

func newPace(c blobstore.Clock, perSecond int64) *pace {
	if perSecond <= 0 {
		return nil
	}
	return &pace{c, rate.NewLimiter(rate.Limit(perSecond), int(min(perSecond, readSize)))}
}

// most is how many bytes may be asked for at once.
func (p *pace) most() int {
	if p == nil {
		return readSize
	}
	return p.limiter.Burst()
}

// wait returns when n bytes more may be read. n is at most most.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil {
		return ctx.Err()
	}
	now := p.clock.Now()
	if d := p.limiter.ReserveN(now, n).DelayFrom(now); d > 0 {
		return p.clock.Sleep(ctx, d)
	}
	return ctx.Err()
}
