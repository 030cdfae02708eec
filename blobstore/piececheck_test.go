package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// A flipper flips a bit of data that is read, so many times.
type flipper struct {
	bucket.Bucket
	flips atomic.Int64
}

func (f *flipper) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	r, info, err := f.Bucket.Get(ctx, key, off, n)
	if err != nil || !strings.HasPrefix(key, "data/") || f.flips.Add(-1) < 0 {
		return r, info, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	b[len(b)/2] ^= 4
	return io.NopCloser(bytes.NewReader(b)), info, err
}

// What has been hashed when it came, and is read again to be joined with what
// comes behind it, is looked at again: a bit that is flipped on that way would be
// stored under a digest that it does not have.
func TestAPieceThatIsReadBackWithAFlippedBit(t *testing.T) {
	const part = 256 << 10
	data, d := blob(7*part/2, 77)
	for name, elsewhere := range map[string]bool{"on the same server": false, "on another": true} {
		for cut, what := range map[int]string{part / 2: "a first piece", 3 * part / 2: "a piece behind a part"} {
			t.Run(what+" "+name, func(t *testing.T) {
				c := storetest.NewClock()
				f := &flipper{Bucket: storetest.NewBucket(c)}
				open := func() *blobstore.Store {
					s := blobstore.New(f, blobstore.Options{Clock: c, Logger: storetest.Quiet(), PartSize: part, RecentBytes: 1})
					t.Cleanup(func() { _ = s.Close(context.Background()) })
					return s
				}
				s := open()
				u := start(t, s)
				if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:cut])); err != nil {
					t.Fatal(err)
				}
				if elsewhere {
					s = open()
				}
				f.flips.Store(1)
				u, err := s.ResumeUpload(t.Context(), repo, u.ID())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := u.Finish(t.Context(), int64(cut), bytes.NewReader(data[cut:]), d); !errors.Is(err, bucket.ErrUnavailable) {
					t.Errorf("finish: %v", err)
				}
				if f.flips.Load() > 0 {
					t.Fatal("nothing was read")
				}
				// The client goes on where the server says that it is.
				if u, err = s.ResumeUpload(t.Context(), repo, u.ID()); err != nil {
					t.Fatal(err)
				}
				at, err := u.Refresh(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := u.Finish(t.Context(), at, bytes.NewReader(data[at:]), d); err != nil {
					t.Fatal(err)
				}
				if b, err := s.ReadAll(t.Context(), d, int64(len(data))); err != nil || !bytes.Equal(b, data) {
					t.Errorf("it is not what it was: %v", err)
				}
			})
		}
	}
}

// The bucket does not answer when a part is to be made of a piece and of what
// comes behind it, and answers again when that is stored as a piece: together
// they are a whole part then, and the next bytes wait for it to be sent.
func TestPiecesThatMakeAWholePart(t *testing.T) {
	const part = 256 << 10
	data, d := blob(3*part, 78)
	c := storetest.NewClock()
	b := &storetest.Bucket{Bucket: storetest.NewBucket(c)}
	s := blobstore.New(b, blobstore.Options{Clock: c, Logger: storetest.Quiet(), PartSize: part, RecentBytes: 1})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	u := start(t, s)
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:part/2])); err != nil {
		t.Fatal(err)
	}
	b.Set(func(op, key string, pass func() error) error {
		if op == "get" && strings.HasPrefix(key, "data/") {
			b.Set(nil)
			return bucket.ErrUnavailable
		}
		return pass()
	})
	at, err := u.Append(t.Context(), part/2, bytes.NewReader(data[part/2:]))
	if !errors.Is(err, bucket.ErrUnavailable) || at != part {
		t.Fatalf("at %d, %v", at, err)
	}
	if _, err := u.Finish(t.Context(), at, bytes.NewReader(data[at:]), d); err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, d, data)
}
