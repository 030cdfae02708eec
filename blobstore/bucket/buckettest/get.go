package buckettest

import (
	"bytes"
	"io"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var getTests = []test{
	{"what is not there does not exist", func(t *testing.T, b bucket.Bucket) {
		wantAbsent(t, b, "a")
		wantAbsent(t, b, "a/b/c")
		put(t, b, "a/b", []byte("x"), bucket.Condition{})
		wantAbsent(t, b, "a")
		wantAbsent(t, b, "a/b/c")
		wantAbsent(t, b, "a/bb")
	}},
	{"ranges of a small object", func(t *testing.T, b bucket.Bucket) {
		testRanges(t, b, 1000)
	}},
	{"ranges of a large object", func(t *testing.T, b bucket.Bucket) {
		testRanges(t, b, 300<<10)
	}},
	{"ranges of an empty object", func(t *testing.T, b bucket.Bucket) {
		put(t, b, "empty", nil, bucket.Condition{})
		for _, n := range []int64{-1, 0, 1, 100} {
			data, info, err := get(t.Context(), b, "empty", 0, n)
			if err != nil || len(data) != 0 || info.Size != 0 || info.ETag == "" {
				t.Errorf("get 0, %d: %q, %+v, %v", n, data, info, err)
			}
		}
		_, _, err := get(t.Context(), b, "empty", 1, -1)
		wantError(t, "get behind the end", err, bucket.ErrRange)
	}},
	{"a reader may be closed early", func(t *testing.T, b bucket.Bucket) {
		data := content(1<<20, 1)
		put(t, b, "a", data, bucket.Condition{})
		for range 20 {
			r, _, err := b.Get(t.Context(), "a", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			var some [10]byte
			if _, err := io.ReadFull(r, some[:]); err != nil || !bytes.Equal(some[:], data[:10]) {
				t.Errorf("read %x, %v", some, err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		wantObject(t, b, "a", data)
	}},
	{"a reader goes on with the version that it opened or fails", func(t *testing.T, b bucket.Bucket) {
		old := content(8<<20, 1)
		put(t, b, "a", old, bucket.Condition{})
		r, _, err := b.Get(t.Context(), "a", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		begin := make([]byte, 1<<20)
		if _, err := io.ReadFull(r, begin); err != nil {
			t.Fatal(err)
		}
		// At once: some stores write when nobody reads any more.
		var g errgroup.Group
		g.Go(func() error {
			_, err := b.Put(t.Context(), "a", bytes.NewReader(content(8<<20, 2)), 8<<20, bucket.Condition{})
			return err
		})
		rest, err := io.ReadAll(r)
		if have := append(begin, rest...); err == nil && !bytes.Equal(have, old) {
			t.Errorf("read %s, want %s", brief(have), brief(old))
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}},
	{"Modified is the time of the write", func(t *testing.T, b bucket.Bucket) {
		before, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, "a", []byte("x"), bucket.Condition{})
		after, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, err := b.Stat(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		// Clocks tick in seconds, and stores round in either direction.
		if info.Modified.Before(before.Add(-2*time.Second)) || info.Modified.After(after.Add(2*time.Second)) {
			t.Errorf("written between %s and %s, Modified %s", before, after, info.Modified)
		}
	}},
}

func testRanges(t *testing.T, b bucket.Bucket, size int64) {
	data := content(size, 1)
	want := put(t, b, "a", data, bucket.Condition{})
	for _, tt := range []struct{ off, n, from, to int64 }{
		{0, -1, 0, size},
		{0, size, 0, size},
		{0, size + 1, 0, size}, // cut at the end
		{0, 1, 0, 1},
		{0, 0, 0, 0},
		{1, -1, 1, size},
		{1, size, 1, size},
		{7, 100, 7, 107},
		{size - 1, 1, size - 1, size},
		{size - 1, -1, size - 1, size},
		{size - 1, 1 << 40, size - 1, size},
		{size, -1, size, size}, // at the end: empty, no error
		{size, 0, size, size},
		{size, 10, size, size},
	} {
		have, info, err := get(t.Context(), b, "a", tt.off, tt.n)
		if err != nil {
			t.Errorf("get %d, %d: %v", tt.off, tt.n, err)
			continue
		}
		if !bytes.Equal(have, data[tt.from:tt.to]) {
			t.Errorf("get %d, %d: %s, want %s", tt.off, tt.n, brief(have), brief(data[tt.from:tt.to]))
		}
		if info.Size != size || info.ETag != want.ETag || info.Key != "a" {
			t.Errorf("get %d, %d: %+v does not describe the whole object %+v", tt.off, tt.n, info, want)
		}
	}
	for _, tt := range []struct{ off, n int64 }{{size + 1, -1}, {size + 1, 0}, {size + 1, 5}, {1 << 40, 1}, {-1, 5}, {-1, -1}} {
		_, _, err := get(t.Context(), b, "a", tt.off, tt.n)
		wantError(t, "get outside of the object", err, bucket.ErrRange)
	}
}
