package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// A gate is a bucket that lets nothing below a prefix be read until it is
// opened, and tells when something else is.
type gate struct {
	bucket.Bucket
	closed string // prefix
	open   chan struct{}
	other  string // prefix
	asked  chan struct{}
	once   sync.Once
}

func (g *gate) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if strings.HasPrefix(key, g.other) {
		g.once.Do(func() { close(g.asked) })
	}
	if strings.HasPrefix(key, g.closed) {
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, bucket.Info{}, ctx.Err()
		}
	}
	return g.Bucket.Get(ctx, key, off, n)
}

func TestAPullAsksForLinkAndRecordAtOnce(t *testing.T) {
	s, c, b := newStore(t)
	data, d := blob(100_000, 1)
	if _, err := s.Put(t.Context(), repo, d, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	g := &gate{Bucket: b, closed: "repos/", open: make(chan struct{}), other: "blobs/", asked: make(chan struct{})}
	fresh := open(t, g, options(c))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a store that asks in turn needs it
	defer cancel()
	go func() {
		<-g.asked
		close(g.open)
	}()
	r, err := fresh.Open(ctx, repo, d, 0, -1)
	if err != nil {
		t.Fatalf("the record was not asked for before the link had come: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// How long the record's read takes would tell that there is one.
func TestAPullThatIsDeniedDoesNotWaitForTheRecord(t *testing.T) {
	s, c, b := newStore(t)
	data, d := blob(100_000, 1)
	if _, err := s.Put(t.Context(), repo, d, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	g := &gate{Bucket: b, closed: "blobs/", open: make(chan struct{}), other: "blobs/", asked: make(chan struct{})}
	fresh := open(t, g, options(c))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := fresh.Open(ctx, "someone/else", d, 0, -1); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Errorf("got %v", err)
	}
}
