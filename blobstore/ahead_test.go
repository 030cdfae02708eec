package blobstore_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// A slowPart is a bucket that takes the first part of an upload only when what
// follows it has been sent too.
type slowPart struct {
	bucket.Bucket
	follows chan struct{}
	once    sync.Once
}

func (b *slowPart) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if n > 1 {
		b.once.Do(func() { close(b.follows) })
	} else {
		select {
		case <-b.follows:
		case <-ctx.Done():
			return bucket.Part{}, ctx.Err()
		}
	}
	return b.Bucket.PutPart(ctx, key, id, n, r, size)
}

func (b *slowPart) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if strings.HasPrefix(key, "data/") {
		b.once.Do(func() { close(b.follows) })
	}
	return b.Bucket.Put(ctx, key, r, size, cond)
}

func TestTheEndOfAnUploadDoesNotWaitForThePartsBeforeIt(t *testing.T) {
	data, d := blob(partSize+200_000, 3)
	finish := func(ctx context.Context, u *blobstore.Upload) error {
		_, err := u.Finish(ctx, 0, bytes.NewReader(data), d)
		return err
	}
	for name, push := range map[string]func(context.Context, *blobstore.Upload) error{
		"in one call": finish,
		"appended, then committed": func(ctx context.Context, u *blobstore.Upload) error {
			if _, err := u.Append(ctx, 0, bytes.NewReader(data)); err != nil {
				return err
			}
			_, err := u.Commit(ctx, d)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			b := &slowPart{Bucket: newBucket(c), follows: make(chan struct{})}
			s := open(t, b, options(c))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a store that waits needs it
			defer cancel()
			u, err := s.StartUpload(ctx, repo, blobstore.UploadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := push(ctx, u); err != nil {
				t.Fatalf("what follows the first part was not sent before that had arrived: %v", err)
			}
			mustRead(t, s, d, data)
		})
	}
}
