package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var concurrentTests = []test{
	{"of many creations one wins", func(t *testing.T, b bucket.Bucket) {
		const rounds, writers = 5, 16
		for round := range rounds {
			key := fmt.Sprintf("new/%d/a", round)
			var winner atomic.Int64
			winner.Store(-1)
			var g errgroup.Group
			for i := range writers {
				g.Go(func() error {
					data := content(int64(1000+i), uint64(i))
					_, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), bucket.Condition{IfAbsent: true})
					if err == nil && !winner.CompareAndSwap(-1, int64(i)) {
						t.Errorf("%s: two have won", key)
					}
					return ignore(err, bucket.ErrPrecondition)
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if winner.Load() < 0 {
				t.Fatalf("%s: none has won", key)
			}
			wantObject(t, b, key, content(1000+winner.Load(), uint64(winner.Load())))
		}
	}},
	{"a counter loses no increment", func(t *testing.T, b bucket.Bucket) {
		const writers, times = 8, 6
		put(t, b, "counter", []byte("0"), bucket.Condition{})
		var g errgroup.Group
		for range writers {
			g.Go(func() error {
				for range times {
					if err := Increment(t.Context(), b, "counter"); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "counter", []byte(strconv.Itoa(writers*times)))
	}},
	{"a reader sees one version or the other", func(t *testing.T, b bucket.Bucket) {
		for _, size := range []int64{1000, 300 << 10} {
			versions := [][]byte{content(size, 1), content(size+1, 2), content(size/2, 3)}
			put(t, b, "a", versions[0], bucket.Condition{})
			ctx, cancel := context.WithCancel(t.Context())
			var g errgroup.Group
			for range 3 {
				g.Go(func() error {
					for ctx.Err() == nil {
						have, info, err := get(t.Context(), b, "a", 0, -1)
						if err != nil {
							return err
						}
						if int64(len(have)) != info.Size {
							return fmt.Errorf("read %d bytes of %+v", len(have), info)
						}
						if !bytes.Equal(have, versions[0]) && !bytes.Equal(have, versions[1]) && !bytes.Equal(have, versions[2]) {
							return fmt.Errorf("a mixture was read: %s", brief(have))
						}
					}
					return nil
				})
			}
			for i := range 15 {
				put(t, b, "a", versions[i%3], bucket.Condition{})
			}
			cancel()
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"keys come and go beside each other", func(t *testing.T, b bucket.Bucket) {
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error {
				key := fmt.Sprintf("deep/er/%d/x/%d", i%4, i)
				for range 8 {
					data := content(10, uint64(i))
					if _, err := b.Put(t.Context(), key, bytes.NewReader(data), 10, bucket.Condition{IfAbsent: true}); err != nil {
						return err
					}
					if err := b.Delete(t.Context(), key); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, b, "", "", nil)
	}},
}

// Increment adds one to the number in the object at key by compare-and-swap,
// trying until it has. The object must be there. It is exported for tests that
// do this from several processes.
func Increment(ctx context.Context, b bucket.Bucket, key string) error {
	for {
		data, info, err := get(ctx, b, key, 0, -1)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(data))
		if err != nil {
			return err
		}
		next := []byte(strconv.Itoa(n + 1))
		_, err = b.Put(ctx, key, bytes.NewReader(next), int64(len(next)), bucket.Condition{IfMatch: info.ETag})
		if !errors.Is(err, bucket.ErrPrecondition) {
			return err
		}
	}
}

func ignore(err, class error) error {
	if errors.Is(err, class) {
		return nil
	}
	return err
}
