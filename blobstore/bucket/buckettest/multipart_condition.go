package buckettest

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var multipartConditionTests = []test{
	{"IfAbsent completes once", func(t *testing.T, b bucket.Bucket) {
		one, two := begin(t, b, "a"), begin(t, b, "a")
		one.put(t, 1, content(10, 1))
		two.put(t, 1, content(20, 2))
		info, err := b.CompleteMultipart(t.Context(), "a", one.id, one.parts, bucket.Condition{IfAbsent: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.CompleteMultipart(t.Context(), "a", two.id, two.parts, bucket.Condition{IfAbsent: true})
		wantError(t, "complete", err, bucket.ErrPrecondition)
		wantObject(t, b, "a", one.whole(), info)
		// The upload is as it was.
		if err := b.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		info, err = b.CompleteMultipart(t.Context(), "a", two.id, two.parts, bucket.Condition{IfAbsent: true})
		if err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "a", two.whole(), info)
	}},
	{"IfMatch completes over the version named", func(t *testing.T, b bucket.Bucket) {
		old := put(t, b, "a", []byte("old"), bucket.Condition{})
		now := put(t, b, "a", []byte("now"), bucket.Condition{})
		up := begin(t, b, "a")
		up.put(t, 1, content(10, 1))
		_, err := b.CompleteMultipart(t.Context(), "a", up.id, up.parts, bucket.Condition{IfMatch: old.ETag})
		wantError(t, "complete", err, bucket.ErrPrecondition)
		wantObject(t, b, "a", []byte("now"), now)
		info, err := b.CompleteMultipart(t.Context(), "a", up.id, up.parts, bucket.Condition{IfMatch: now.ETag})
		if err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "a", up.whole(), info)
		// The ETag of an object made of parts serves as well.
		put(t, b, "a", []byte("after"), bucket.Condition{IfMatch: info.ETag})
	}},
	{"IfMatch does not hold for an absent object", func(t *testing.T, b bucket.Bucket) {
		old := put(t, b, "a", []byte("old"), bucket.Condition{})
		up := begin(t, b, "b")
		up.put(t, 1, content(10, 1))
		_, err := b.CompleteMultipart(t.Context(), "b", up.id, up.parts, bucket.Condition{IfMatch: old.ETag})
		wantError(t, "complete", err, bucket.ErrPrecondition)
		wantAbsent(t, b, "b")
	}},
	{"of several completions with IfAbsent one wins", func(t *testing.T, b bucket.Bucket) {
		const uploads = 6
		var won atomic.Pointer[upload]
		var g errgroup.Group
		for i := range uploads {
			up := begin(t, b, "a")
			up.put(t, 1, content(int64(100+i), uint64(i)))
			g.Go(func() error {
				_, err := b.CompleteMultipart(t.Context(), "a", up.id, up.parts, bucket.Condition{IfAbsent: true})
				if err == nil && !won.CompareAndSwap(nil, up) {
					t.Error("two have won")
				}
				return ignore(err, bucket.ErrPrecondition)
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if won.Load() == nil {
			t.Fatal("none has won")
		}
		wantObject(t, b, "a", won.Load().whole())
	}},
}
