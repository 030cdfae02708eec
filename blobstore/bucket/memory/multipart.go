package memory

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// An upload is a multipart upload that has been neither completed nor aborted.
type upload struct {
	key     string
	started time.Time
	parts   map[int]object
}

// CreateMultipart implements bucket.Multiparter.
func (b *Bucket) CreateMultipart(ctx context.Context, key string) (string, error) {
	if err := check(ctx, "create upload", key); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastID++
	id := fmt.Sprintf("upload-%d", b.lastID)
	b.uploads[id] = &upload{key: key, started: b.opts.Now(), parts: map[int]object{}}
	return id, nil
}

// PutPart implements bucket.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := check(ctx, "put part", key); err != nil {
		return bucket.Part{}, err
	}
	if n < 1 || n > b.Features().MaxParts {
		return bucket.Part{}, fail("put part", key, fmt.Errorf("%w: number %d, allowed are 1 to %d", bucket.ErrPart, n, b.Features().MaxParts))
	}
	data, err := read(ctx, r, size)
	if err != nil {
		return bucket.Part{}, fail("put part", key, err)
	}
	etag := hash(data)

	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return bucket.Part{}, fail("put part", key, err)
	}
	up, err := b.upload(key, id)
	if err != nil {
		return bucket.Part{}, fail("put part", key, err)
	}
	if err := b.reserve(size - int64(len(up.parts[n].data))); err != nil {
		return bucket.Part{}, fail("put part", key, err)
	}
	up.parts[n] = object{data: data, etag: etag}
	return bucket.Part{Number: n, Size: size, ETag: etag}, nil
}

// CompleteMultipart implements bucket.Multiparter.
func (b *Bucket) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	if err := check(ctx, "complete upload", key); err != nil {
		return bucket.Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	up, err := b.upload(key, id)
	if err != nil {
		return bucket.Info{}, fail("complete upload", key, err)
	}
	data, err := up.join(parts, b.opts.MinPart)
	if err != nil {
		return bucket.Info{}, fail("complete upload", key, err)
	}
	// As on S3, the ETag says of how many parts the object was made.
	etag := bucket.ETag(fmt.Sprintf("%s-%d", hash(data), len(parts)))
	// What the parts take is what the object takes: free them first, and take
	// it back when the object cannot be stored.
	size := up.size()
	b.used -= size
	info, err := b.store(key, data, etag, cond)
	if err != nil {
		b.used += size
		return bucket.Info{}, fail("complete upload", key, err)
	}
	delete(b.uploads, id)
	return info, nil
}

// AbortMultipart implements bucket.Multiparter.
func (b *Bucket) AbortMultipart(ctx context.Context, key, id string) error {
	if err := check(ctx, "abort upload", key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if up, err := b.upload(key, id); err == nil {
		b.used -= up.size()
		delete(b.uploads, id)
	}
	return nil
}

// ListMultiparts implements bucket.Multiparter.
func (b *Bucket) ListMultiparts(ctx context.Context, key string) iter.Seq2[bucket.MultipartInfo, error] {
	return func(yield func(bucket.MultipartInfo, error) bool) {
		if err := check(ctx, "list uploads", key); err != nil {
			yield(bucket.MultipartInfo{}, err)
			return
		}
		b.mu.Lock()
		var open []bucket.MultipartInfo
		for id, up := range b.uploads {
			if up.key == key {
				open = append(open, bucket.MultipartInfo{ID: id, Started: up.started})
			}
		}
		b.mu.Unlock()
		// A map's order would make a simulation on this bucket another each time.
		slices.SortFunc(open, func(x, y bucket.MultipartInfo) int { return strings.Compare(x.ID, y.ID) })
		for _, info := range open {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// upload returns the upload id to key. The lock is held.
func (b *Bucket) upload(key, id string) (*upload, error) {
	up, ok := b.uploads[id]
	if !ok || up.key != key {
		return nil, fmt.Errorf("%w: %s", bucket.ErrNoUpload, id)
	}
	return up, nil
}

func (up *upload) size() int64 {
	var size int64
	for _, p := range up.parts {
		size += int64(len(p.data))
	}
	return size
}

// join returns the bytes of the parts named, after checking that they are
// those, in ascending order, and none but the last shorter than least.
func (up *upload) join(parts []bucket.Part, least int64) ([]byte, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: none is named", bucket.ErrPart)
	}
	var size int64
	for i, p := range parts {
		have, ok := up.parts[p.Number]
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: number %d was not put", bucket.ErrPart, p.Number)
		case have.etag != p.ETag:
			return nil, fmt.Errorf("%w: number %d is at %s, not %s", bucket.ErrPart, p.Number, have.etag, p.ETag)
		case i > 0 && p.Number <= parts[i-1].Number:
			return nil, fmt.Errorf("%w: number %d does not follow %d", bucket.ErrPart, p.Number, parts[i-1].Number)
		case i < len(parts)-1 && int64(len(have.data)) < least:
			return nil, fmt.Errorf("%w: number %d has %d bytes, the least is %d", bucket.ErrPart, p.Number, len(have.data), least)
		}
		size += int64(len(have.data))
	}
	data := make([]byte, 0, size)
	for _, p := range parts {
		data = append(data, up.parts[p.Number].data...)
	}
	return data, nil
}
