package blobstore

import (
	"context"
	"sync"
)

// A bufferPool hands out at most n buffers of one size. Whoever has one gives
// it back without waiting for another, so that nobody waits for ever.
type bufferPool struct {
	size int
	free chan []byte
	mu   sync.Mutex
	left int // buffers not made yet
	made [][]byte
}

func newBufferPool(n, size int) *bufferPool {
	return &bufferPool{size: size, free: make(chan []byte, n), left: n}
}

// get returns a buffer, waiting for one until ctx ends.
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
	select {
	case b := <-p.free:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
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
