package buckettest

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var conditionTests = []test{
	{"IfAbsent creates once", func(t *testing.T, b bucket.Bucket) {
		absent := bucket.Condition{IfAbsent: true}
		for _, size := range []int64{10, 0, 300 << 10} {
			first := put(t, b, "a", content(size, 1), absent)
			for _, again := range []int64{size, 0, 10, 300 << 10} {
				_, err := b.Put(t.Context(), "a", bytes.NewReader(content(again, 1)), again, absent)
				wantError(t, "put", err, bucket.ErrPrecondition)
			}
			wantObject(t, b, "a", content(size, 1), first)
			if err := b.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"IfMatch replaces the version named, once", func(t *testing.T, b bucket.Bucket) {
		first := put(t, b, "a", []byte("first"), bucket.Condition{IfAbsent: true})
		second := put(t, b, "a", []byte("second"), bucket.Condition{IfMatch: first.ETag})
		_, err := b.Put(t.Context(), "a", bytes.NewReader([]byte("third")), 5, bucket.Condition{IfMatch: first.ETag})
		wantError(t, "put", err, bucket.ErrPrecondition)
		wantObject(t, b, "a", []byte("second"), second)
		third := put(t, b, "a", content(300<<10, 3), bucket.Condition{IfMatch: second.ETag})
		wantObject(t, b, "a", content(300<<10, 3), put(t, b, "a", content(300<<10, 3), bucket.Condition{IfMatch: third.ETag}))
	}},
	{"IfMatch does not hold for an absent object", func(t *testing.T, b bucket.Bucket) {
		info := put(t, b, "a", []byte("x"), bucket.Condition{})
		_, err := b.Put(t.Context(), "b", bytes.NewReader([]byte("x")), 1, bucket.Condition{IfMatch: info.ETag})
		wantError(t, "put", err, bucket.ErrPrecondition)
		wantAbsent(t, b, "b")
		if err := b.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		_, err = b.Put(t.Context(), "a", bytes.NewReader([]byte("x")), 1, bucket.Condition{IfMatch: info.ETag})
		wantError(t, "put", err, bucket.ErrPrecondition)
		wantAbsent(t, b, "a")
	}},
	{"IfMatch of an ETag from elsewhere does not hold", func(t *testing.T, b bucket.Bucket) {
		info := put(t, b, "a", []byte("x"), bucket.Condition{})
		_, err := b.Put(t.Context(), "a", bytes.NewReader([]byte("y")), 1, bucket.Condition{IfMatch: "0123456789abcdef0123456789abcdef"})
		wantError(t, "put", err, bucket.ErrPrecondition)
		wantObject(t, b, "a", []byte("x"), info)
	}},
	{"ETags of Get, Stat and List serve as IfMatch", func(t *testing.T, b bucket.Bucket) {
		put(t, b, "a", []byte("0"), bucket.Condition{})
		_, got, err := get(t.Context(), b, "a", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, "a", []byte("1"), bucket.Condition{IfMatch: got.ETag})
		stat, err := b.Stat(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, "a", []byte("2"), bucket.Condition{IfMatch: stat.ETag})
		for listed, err := range b.List(t.Context(), "a", "") {
			if err != nil {
				t.Fatal(err)
			}
			put(t, b, "a", []byte("3"), bucket.Condition{IfMatch: listed.ETag})
		}
		wantObject(t, b, "a", []byte("3"))
	}},
	{"NotAfter in the future does not matter", func(t *testing.T, b bucket.Bucket) {
		now, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		soon := now.Add(time.Minute)
		first := put(t, b, "a", []byte("first"), bucket.Condition{IfAbsent: true, NotAfter: soon})
		_, err = b.Put(t.Context(), "a", bytes.NewReader([]byte("x")), 1, bucket.Condition{IfAbsent: true, NotAfter: soon})
		wantError(t, "put", err, bucket.ErrPrecondition)
		second := put(t, b, "a", []byte("second"), bucket.Condition{IfMatch: first.ETag, NotAfter: soon})
		_, err = b.Put(t.Context(), "a", bytes.NewReader([]byte("x")), 1, bucket.Condition{IfMatch: first.ETag, NotAfter: soon})
		wantError(t, "put", err, bucket.ErrPrecondition)
		wantObject(t, b, "a", []byte("second"), second)
		wantObject(t, b, "a", content(300<<10, 1), put(t, b, "a", content(300<<10, 1), bucket.Condition{NotAfter: soon}))
		wantObject(t, b, "b", nil, put(t, b, "b", nil, bucket.Condition{NotAfter: now.Add(30 * 24 * time.Hour)}))
	}},
	{"NotAfter in the past refuses the write", func(t *testing.T, b bucket.Bucket) {
		if !b.Features().RefusesLateWrites {
			t.Skip("the bucket does not refuse late writes")
		}
		now, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, ago := range []time.Duration{2 * time.Second, time.Hour, 24 * 365 * time.Hour} {
			_, err = b.Put(t.Context(), "a", bytes.NewReader([]byte("x")), 1, bucket.Condition{IfAbsent: true, NotAfter: now.Add(-ago)})
			wantError(t, "put", err, bucket.ErrTooLate)
		}
		wantAbsent(t, b, "a")
	}},
	{"a write that takes until after NotAfter is refused", func(t *testing.T, b bucket.Bucket) {
		if !b.Features().RefusesLateWrites {
			t.Skip("the bucket does not refuse late writes")
		}
		now, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		deadline := now.Add(2 * time.Second)
		waits := func(r io.Reader) io.Reader { return &lateReader{t, b, deadline, r} }
		_, err = b.Put(t.Context(), "a", newSeeker([]byte("late"), waits), 4, bucket.Condition{NotAfter: deadline})
		wantError(t, "put", err, bucket.ErrTooLate)
		wantAbsent(t, b, "a")
	}},
}

// A lateReader delivers nothing before its bucket's clock is past the deadline.
type lateReader struct {
	t        *testing.T
	b        bucket.Bucket
	deadline time.Time
	r        io.Reader
}

func (l *lateReader) Read(p []byte) (int, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := l.b.Clock(l.t.Context())
		if err != nil {
			return 0, err
		}
		if now.After(l.deadline) {
			return l.r.Read(p)
		}
		<-tick.C
	}
}
