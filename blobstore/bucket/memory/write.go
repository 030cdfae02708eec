package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/internal/exact"
)

// Put implements bucket.Writer.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := check(ctx, "put", key); err != nil {
		return bucket.Info{}, err
	}
	data, err := read(ctx, r, size)
	if err != nil {
		return bucket.Info{}, fail("put", key, err)
	}
	etag := hash(data)

	b.mu.Lock()
	defer b.mu.Unlock()
	// Reading may have taken long: what counts is the moment of the write.
	if err := ctx.Err(); err != nil {
		return bucket.Info{}, fail("put", key, err)
	}
	// Round(0): compare by the wall clock.
	if !cond.NotAfter.IsZero() && b.opts.Now().Round(0).After(cond.NotAfter) {
		return bucket.Info{}, fail("put", key, fmt.Errorf("%w of %s", bucket.ErrTooLate, cond.NotAfter.UTC()))
	}
	info, err := b.store(key, data, etag, cond)
	if err != nil {
		return bucket.Info{}, fail("put", key, err)
	}
	return info, nil
}

// store makes data the object at key. The lock is held.
func (b *Bucket) store(key string, data []byte, etag bucket.ETag, cond bucket.Condition) (bucket.Info, error) {
	old, exists := b.objects[key]
	if !cond.Holds(exists, old.etag) {
		return bucket.Info{}, bucket.ErrPrecondition
	}
	if !exists {
		if err := b.noFolder(key); err != nil {
			return bucket.Info{}, err
		}
	}
	if err := b.reserve(int64(len(data)) - int64(len(old.data))); err != nil {
		return bucket.Info{}, err
	}
	if i, found := slices.BinarySearch(b.keys, key); !found {
		b.keys = slices.Insert(b.keys, i, key)
	}
	o := object{data: data, etag: etag, modified: b.opts.Now()}
	b.objects[key] = o
	return o.info(key), nil
}

// noFolder returns ErrKey when key is a folder of another object's key, or the
// other way round. The lock is held.
func (b *Bucket) noFolder(key string) error {
	for i := range len(key) {
		if _, exists := b.objects[key[:i]]; key[i] == '/' && exists {
			return fmt.Errorf("%w %q: there is an object at %s", bucket.ErrKey, key, key[:i])
		}
	}
	if i, _ := slices.BinarySearch(b.keys, key+"/"); i < len(b.keys) && strings.HasPrefix(b.keys[i], key+"/") {
		return fmt.Errorf("%w %q: there is an object at %s", bucket.ErrKey, key, b.keys[i])
	}
	return nil
}

// reserve takes n more bytes of the capacity. The lock is held.
func (b *Bucket) reserve(n int64) error {
	if b.opts.Capacity > 0 && n > 0 && b.used+n > b.opts.Capacity {
		return fmt.Errorf("%w: %d of %d bytes in use, %d more wanted", bucket.ErrFull, b.used, b.opts.Capacity, n)
	}
	b.used += n
	return nil
}

// Delete implements bucket.Deleter.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	for _, key := range keys {
		if err := check(ctx, "delete", key); err != nil {
			errs = append(errs, err)
			continue
		}
		b.mu.Lock()
		b.remove(key)
		b.mu.Unlock()
	}
	return errors.Join(errs...)
}

// DeleteIf implements bucket.ConditionalDeleter.
func (b *Bucket) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	if !ok {
		return nil
	}
	if o.etag != etag {
		return fail("delete", key, bucket.ErrPrecondition)
	}
	b.remove(key)
	return nil
}

// remove deletes the object at key if there is one. The lock is held.
func (b *Bucket) remove(key string) {
	o, ok := b.objects[key]
	if !ok {
		return
	}
	delete(b.objects, key)
	i, _ := slices.BinarySearch(b.keys, key)
	b.keys = slices.Delete(b.keys, i, i+1)
	b.used -= int64(len(o.data))
}

// read returns the size bytes that r has.
func read(ctx context.Context, r io.ReadSeeker, size int64) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, size))
	err := exact.Copy(ctx, data, r, size)
	return data.Bytes(), err
}
