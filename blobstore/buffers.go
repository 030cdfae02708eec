package blobstore

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A bufferPool hands out at most n buffers of one size. Whoever has one gives
// it back without waiting for another, so that nobody waits for ever.
type bufferPool struct {
	size int
	free chan []byte
	mu   sync.Mutex
	left int // buffers not made yet
	made [][]byte
	// holders are the uploads that fill one, and since when.
	holders map[*appender]time.Time
}

// lease is how long an upload may take to fill a buffer while others wait for one.
const lease = 3 * time.Second

func newBufferPool(n, size int) *bufferPool {
	return &bufferPool{size: size, free: make(chan []byte, n), left: n, holders: map[*appender]time.Time{}}
}

// get returns a buffer, waiting for one until ctx ends. It takes one away from
// an upload whose client is slow, so that few such clients do not keep all others
// waiting.
func (p *bufferPool) get(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	p.mu.Lock()
	if p.left > 0 {
		b, err := allocate(p.size)
		if err == nil {
			p.left--
			p.made = append(p.made, b)
		}
		p.mu.Unlock()
		return b, err
	}
	p.mu.Unlock()
	tick := time.NewTicker(lease)
	defer tick.Stop()
	for {
		select {
		case b := <-p.free:
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
			p.reclaim()
		}
	}
}

// hold and letGo say that a fills a buffer, and that it does so no more.
func (p *bufferPool) hold(a *appender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holders[a] = time.Now()
}

func (p *bufferPool) letGo(a *appender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.holders, a)
}

// reclaim makes one upload whose lease is over give its buffer up: the one that
// has had it longest of those that wait for their client.
func (p *bufferPool) reclaim() {
	p.mu.Lock()
	var late []*appender
	for a, since := range p.holders {
		if time.Since(since) >= lease {
			late = append(late, a)
		}
	}
	slices.SortFunc(late, func(a, b *appender) int { return p.holders[a].Compare(p.holders[b]) })
	p.mu.Unlock()
	for _, a := range late {
		if a.giveUp() {
			return
		}
	}
}

// inUse is how many buffers are handed out.
func (p *bufferPool) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, len(p.made)-len(p.free))
}

func (p *bufferPool) put(b []byte) { p.free <- b[:p.size] }

// close frees the buffers that are not in use.
func (p *bufferPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = 0
	for range len(p.made) {
		select {
		case b := <-p.free:
			release(b)
		default:
			return
		}
	}
}
