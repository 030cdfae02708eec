package buckettest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var putTests = []test{
	{"every size comes back whole", func(t *testing.T, b bucket.Bucket) {
		for _, size := range []int64{0, 1, 4095, 64 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 1<<20 + 3, 6 << 20} {
			data := content(size, uint64(size))
			wantObject(t, b, "a", data, put(t, b, "a", data, bucket.Condition{}))
		}
	}},
	{"an object is replaced whole", func(t *testing.T, b bucket.Bucket) {
		long, short := content(200<<10, 1), content(10, 2)
		first := put(t, b, "a", long, bucket.Condition{})
		second := put(t, b, "a", short, bucket.Condition{})
		if first.ETag == second.ETag {
			t.Errorf("other bytes, same ETag %s", first.ETag)
		}
		wantObject(t, b, "a", short, second)
		wantObject(t, b, "a", long, put(t, b, "a", long, bucket.Condition{}))
	}},
	{"a reader is read from its beginning", func(t *testing.T, b bucket.Bucket) {
		r := bytes.NewReader([]byte("0123456789"))
		for range 3 { // at its beginning, then twice at its end
			if _, err := b.Put(t.Context(), "a", r, 10, bucket.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		wantObject(t, b, "a", []byte("0123456789"))
	}},
	{"a reader may be slow and piecemeal", func(t *testing.T, b bucket.Bucket) {
		data := content(300<<10, 1)
		r := newSeeker(data, iotest.HalfReader)
		if _, err := b.Put(t.Context(), "a", r, int64(len(data)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "a", data)
	}},
	{"a short reader stores nothing", func(t *testing.T, b bucket.Bucket) {
		for _, size := range []int64{0, 10, 300 << 10} {
			_, err := b.Put(t.Context(), "a", bytes.NewReader(content(size, 1)), size+1, bucket.Condition{})
			wantError(t, "put", err, io.ErrUnexpectedEOF)
			wantAbsent(t, b, "a")
		}
	}},
	{"a long reader stores nothing", func(t *testing.T, b bucket.Bucket) {
		for _, size := range []int64{1, 10, 300 << 10} {
			_, err := b.Put(t.Context(), "a", bytes.NewReader(content(size, 1)), size-1, bucket.Condition{})
			wantError(t, "put", err, bucket.ErrSize)
			wantAbsent(t, b, "a")
		}
	}},
	{"a reader that fails stores nothing", func(t *testing.T, b bucket.Bucket) {
		broken := errors.New("disk on fire")
		fails := func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, 7), iotest.ErrReader(broken)) }
		for _, size := range []int64{10, 300 << 10} {
			data := content(size, 1)
			_, err := b.Put(t.Context(), "a", newSeeker(data, fails), size, bucket.Condition{})
			wantError(t, "put", err, broken)
			wantAbsent(t, b, "a")
		}
	}},
	{"what fails leaves the old object", func(t *testing.T, b bucket.Bucket) {
		old := put(t, b, "a", []byte("old"), bucket.Condition{})
		_, err := b.Put(t.Context(), "a", bytes.NewReader([]byte("new")), 4, bucket.Condition{})
		wantError(t, "put", err, io.ErrUnexpectedEOF)
		_, err = b.Put(t.Context(), "a", bytes.NewReader([]byte("new")), 2, bucket.Condition{IfMatch: old.ETag})
		wantError(t, "put", err, bucket.ErrSize)
		wantObject(t, b, "a", []byte("old"), old)
	}},
}

// A seeker reads data through wrap, from the beginning again after every seek.
type seeker struct {
	io.Reader
	data []byte
	wrap func(io.Reader) io.Reader
}

func newSeeker(data []byte, wrap func(io.Reader) io.Reader) *seeker {
	return &seeker{Reader: wrap(bytes.NewReader(data)), data: data, wrap: wrap}
}

func (s *seeker) Seek(off int64, whence int) (int64, error) {
	r := bytes.NewReader(s.data)
	n, err := r.Seek(off, whence)
	s.Reader = s.wrap(r)
	return n, err
}
