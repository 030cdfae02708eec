package blobstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/reference"
)

const repo = reference.Repository("demo/app")

// A clock that stands still until it is turned.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	moved chan struct{} // closed and replaced at each turn
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), moved: make(chan struct{})}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	close(c.moved)
	c.moved = make(chan struct{})
}

// Sleep counts the time as passed when it is waited for in a test: it turns the
// clock itself.
func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	end := c.now.Add(d)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		now, moved := c.now, c.moved
		c.mu.Unlock()
		if !now.Before(end) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing is a clock whose Sleep lets the time pass at once.
type passing struct{ *clock }

func (p passing) Sleep(ctx context.Context, d time.Duration) error {
	p.Turn(d)
	return ctx.Err()
}

func open(t *testing.T, b bucket.Bucket, o blobstore.Options) *blobstore.Store {
	t.Helper()
	s := blobstore.New(b, o)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func newStore(t *testing.T) (*blobstore.Store, *clock, bucket.Bucket) {
	t.Helper()
	c := newClock()
	b := newBucket(c)
	return open(t, b, options(c)), c, b
}

// The sizes are small so that tests see every path with little data.
func newBucket(c *clock) *memory.Bucket {
	return memory.New(memory.Options{Now: c.Now, MinPart: 512 << 10})
}

func options(c *clock) blobstore.Options {
	return blobstore.Options{Clock: passing{c}, PartSize: partSize, Logger: slog.New(slog.DiscardHandler)}
}

const partSize = 512 << 10

// blob returns n bytes that differ with the seed, and their digest.
func blob(n int, seed uint64) ([]byte, digest.Digest) {
	b := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(n))
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b, digest.FromBytes(b)
}

func mustRead(t *testing.T, s *blobstore.Store, d digest.Digest, want []byte) {
	t.Helper()
	r, err := s.Open(context.Background(), repo, d, 0, -1)
	if err != nil {
		t.Fatalf("open %s: %v", d, err)
	}
	defer r.Close()
	var got bytes.Buffer
	if n, err := r.WriteTo(&got); err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("read %s: %d bytes, %v", d, n, err)
	}
}
