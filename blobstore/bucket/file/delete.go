package file

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Delete implements bucket.Deleter. Keys of one folder cost one sync together.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	folders := map[string][]string{}
	for _, key := range keys {
		if err := check(ctx, "delete", key); err != nil {
			errs = append(errs, err)
			continue
		}
		dir, _ := split(key)
		folders[dir] = append(folders[dir], key)
	}
	failed := make(chan error, len(keys))
	var g errgroup.Group
	g.SetLimit(8)
	for dir, keys := range folders {
		g.Go(func() error {
			if err := b.deleteIn(ctx, dir, keys); err != nil {
				for _, key := range keys {
					failed <- b.fail("delete", key, err)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // never fails
	close(failed)
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// deleteIn deletes objects of one folder.
func (b *Bucket) deleteIn(ctx context.Context, dir string, keys []string) error {
	folder, err := b.openFolder(dir)
	if err != nil {
		return ignoreMissing(b.missing(err))
	}
	defer folder.Close()
	held := make([]int, 0, len(keys))
	for _, key := range keys {
		held = append(held, keyStripe(key))
	}
	// In ascending order: two that delete at once must not wait for each other.
	slices.Sort(held)
	held = slices.Compact(held)
	for _, stripe := range held {
		if err := b.locks.lock(ctx, stripe); err != nil {
			return err
		}
		defer b.locks.release(stripe)
	}
	return b.change(folder, held, func() error {
		var errs []error
		for _, key := range keys {
			errs = append(errs, ignoreMissing(unlink(folder, key)))
		}
		return errors.Join(errs...)
	})
}

// DeleteIf implements bucket.ConditionalDeleter.
func (b *Bucket) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	if err := b.deleteIf(ctx, key, etag); err != nil {
		return b.fail("delete", key, err)
	}
	return nil
}

func (b *Bucket) deleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	dir, _ := split(key)
	folder, err := b.openFolder(dir)
	if err != nil {
		return ignoreMissing(b.missing(err))
	}
	defer folder.Close()
	stripe := keyStripe(key)
	if err := b.locks.lock(ctx, stripe); err != nil {
		return err
	}
	defer b.locks.release(stripe)
	info, err := b.stat(key)
	if err != nil {
		return ignoreMissing(err)
	}
	if info.ETag != etag {
		return bucket.ErrPrecondition
	}
	return b.change(folder, []int{stripe}, func() error { return unlink(folder, key) })
}

// unlink removes the object at key from its folder.
func unlink(folder *os.File, key string) error {
	_, name := split(key)
	if err := unix.Unlinkat(int(folder.Fd()), name, 0); err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
