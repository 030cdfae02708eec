package blobstore_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// A fault is how a write goes wrong.
type fault int

const (
	none    fault = iota
	lost          // it does not happen, and the caller is told that it may have
	unheard       // it happens, and the caller is told that it may not have
	twice         // it is sent again after it happened, as by a client that retries
	stalled       // the caller gives up, and it arrives when the test says so
)

// An unsure bucket makes writes go wrong: those for which choose says so, by their
// number. It knows which multipart uploads are open.
type unsure struct {
	*memory.Bucket
	mu      sync.Mutex
	choose  func(n int, op, key string) fault
	n       int
	waiting []func()
	keys    []string // of multipart uploads
}

func (b *unsure) set(choose func(n int, op, key string) fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.choose, b.n = choose, 0
}

// release lets what is stalled arrive, in the order of being sent.
func (b *unsure) release() {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, arrive := range waiting {
		arrive()
	}
}

func (b *unsure) write(op, key string, do func() error) error {
	b.mu.Lock()
	f := none
	if b.choose != nil {
		f = b.choose(b.n, op, key)
		b.n++
	}
	b.mu.Unlock()
	failed := fmt.Errorf("%s %s: %w", op, key, bucket.ErrUnavailable)
	switch f {
	case lost:
		return failed
	case unheard:
		_ = do()
		return failed
	case twice:
		_ = do()
	case stalled:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.waiting = append(b.waiting, func() { _ = do() })
		return failed
	}
	return do()
}

func (b *unsure) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (info bucket.Info, err error) {
	all, err := io.ReadAll(r) // the caller's buffer is its own when it has given up
	if err != nil {
		return info, err
	}
	err = b.write("put", key, func() (err error) {
		info, err = b.Bucket.Put(context.WithoutCancel(ctx), key, strings.NewReader(string(all)), size, cond)
		return err
	})
	return info, err
}

func (b *unsure) Delete(ctx context.Context, keys ...string) error {
	return b.write("delete", strings.Join(keys, " "), func() error { return b.Bucket.Delete(context.WithoutCancel(ctx), keys...) })
}

func (b *unsure) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	return b.write("delete-if", key, func() error { return b.Bucket.DeleteIf(context.WithoutCancel(ctx), key, etag) })
}

func (b *unsure) CreateMultipart(ctx context.Context, key string) (id string, err error) {
	b.mu.Lock()
	b.keys = append(b.keys, key)
	b.mu.Unlock()
	err = b.write("create", key, func() (err error) {
		id, err = b.Bucket.CreateMultipart(context.WithoutCancel(ctx), key)
		return err
	})
	return id, err
}

func (b *unsure) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (part bucket.Part, err error) {
	all, err := io.ReadAll(r)
	if err != nil {
		return part, err
	}
	err = b.write("part", key, func() (err error) {
		part, err = b.Bucket.PutPart(context.WithoutCancel(ctx), key, id, n, strings.NewReader(string(all)), size)
		return err
	})
	return part, err
}

func (b *unsure) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (info bucket.Info, err error) {
	err = b.write("complete", key, func() (err error) {
		info, err = b.Bucket.CompleteMultipart(context.WithoutCancel(ctx), key, id, parts, cond)
		return err
	})
	return info, err
}

func (b *unsure) AbortMultipart(ctx context.Context, key, id string) error {
	return b.write("abort", key, func() error { return b.Bucket.AbortMultipart(context.WithoutCancel(ctx), key, id) })
}

// open are the keys to which there is a multipart upload.
func (b *unsure) open(t tester) (open []string) {
	t.Helper()
	b.mu.Lock()
	keys := slices.Clone(b.keys)
	b.mu.Unlock()
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		for _, err := range b.ListMultiparts(context.Background(), key) {
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, key)
		}
	}
	return open
}
