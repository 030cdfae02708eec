package probe

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Some servers look and then write: they honour a condition when requests come
// one after the other, and not when they come at once. A few rounds of a few
// writers find nearly all of those, and cost some forty small writes.
const (
	raceRounds  = 3
	raceWriters = 6
)

// race lets writers that come at once create an object, and then replace one
// version of it. One of them may win, each time.
func (p *probe) race() error {
	for i := range raceRounds {
		name := fmt.Sprintf("race-%d", i)
		if err := p.raceOnce(name, bucket.Condition{IfAbsent: true}, "If-None-Match on PUTs that come at once"); err != nil {
			return err
		}
		info, err := p.put(name, "before", bucket.Condition{})
		if err != nil {
			return err
		}
		if err := p.raceOnce(name, bucket.Condition{IfMatch: info.ETag}, "If-Match on PUTs that come at once"); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) raceOnce(name string, cond bucket.Condition, ignored string) error {
	key := p.root + name
	p.used[key] = true
	var (
		writers sync.WaitGroup
		errs    [raceWriters]error
		start   = make(chan struct{})
	)
	for i := range raceWriters {
		writers.Go(func() {
			<-start
			data := fmt.Appendf(nil, "writer %d", i)
			_, errs[i] = p.b.Put(p.ctx, key, bytes.NewReader(data), int64(len(data)), cond)
		})
	}
	close(start)
	writers.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case errors.Is(err, bucket.ErrPrecondition):
		default:
			return fmt.Errorf("tried whether it honours %s: %w", ignored, err)
		}
	}
	// None may have won as far as it knows: the answer was lost, and when it
	// tried again its own write was in the way.
	if won > 1 {
		return fmt.Errorf("%w: it ignores %s (%d of %d succeeded, and one may): %s", ErrUnfit, ignored, won, raceWriters, otherServer)
	}
	return nil
}
