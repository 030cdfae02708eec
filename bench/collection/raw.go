package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
)

// A raw bucket is one in a folder that writes new objects without waiting for
// the disk, in the same layout: a million syncs would take hours. For making a
// store that may be lost.
type raw struct {
	*file.Bucket
	dir string
}

func openRaw(dir string) (target, error) {
	b, err := file.Open(dir, file.Options{})
	if err != nil {
		return target{}, err
	}
	return target{&raw{b, dir}, 4}, nil
}

// Put writes new objects at once, and leaves the rest to the bucket.
func (b *raw) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if cond.IfMatch != "" {
		return b.Bucket.Put(ctx, key, r, size, cond)
	}
	if err := bucket.CheckKey(key); err != nil {
		return bucket.Info{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return bucket.Info{}, err
	}
	path := filepath.Join(b.dir, filepath.FromSlash(key)) + "@"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return b.Bucket.Put(ctx, key, r, size, cond)
	}
	if err != nil {
		return bucket.Info{}, err
	}
	_, err = io.CopyN(f, r, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return bucket.Info{}, err
	}
	return b.Stat(ctx, key)
}
