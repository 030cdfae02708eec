package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// pageSize is how many keys List looks up at a time; S3's page has as many.
const pageSize = 1000

// Get implements bucket.Reader.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, bucket.Info{}, err
	}
	o, ok := b.object(key)
	if !ok {
		return nil, bucket.Info{}, fail("get", key, bucket.ErrNotExist)
	}
	size := int64(len(o.data))
	if off < 0 || off > size {
		return nil, bucket.Info{}, fail("get", key, fmt.Errorf("%w: offset %d, size %d", bucket.ErrRange, off, size))
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(o.data[off : off+n])), o.info(key), nil
}

// Stat implements bucket.Reader.
func (b *Bucket) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := check(ctx, "stat", key); err != nil {
		return bucket.Info{}, err
	}
	o, ok := b.object(key)
	if !ok {
		return bucket.Info{}, fail("stat", key, bucket.ErrNotExist)
	}
	return o.info(key), nil
}

// List implements bucket.Lister.
func (b *Bucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for _, s := range []string{prefix, startAfter} {
			if err := bucket.CheckPrefix(s); err != nil {
				yield(bucket.Info{}, fmt.Errorf("list: %w", err))
				return
			}
		}
		for after := startAfter; ; {
			if err := ctx.Err(); err != nil {
				yield(bucket.Info{}, fail("list", prefix, err))
				return
			}
			page := b.page(prefix, after)
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

func (b *Bucket) object(key string) (object, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	return o, ok
}

// page returns the first pageSize objects under prefix and after the key given.
func (b *Bucket) page(prefix, after string) []bucket.Info {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, _ := slices.BinarySearch(b.keys, prefix)
	if j, found := slices.BinarySearch(b.keys, after); found {
		i = max(i, j+1)
	} else {
		i = max(i, j)
	}
	var page []bucket.Info
	for _, key := range b.keys[i:] {
		if !strings.HasPrefix(key, prefix) || len(page) == pageSize {
			break
		}
		page = append(page, b.objects[key].info(key))
	}
	return page
}
