package record_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/record"
)

type counter struct {
	record.Header
	N int `json:"n"`
}

// losing does what it is asked, and then says that it does not know, or that
// the condition did not hold, as after a retry.
type losing struct {
	bucket.Bucket
	err error
}

func (l *losing) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	info, err := l.Bucket.Put(ctx, key, r, size, cond)
	if err == nil && l.err != nil {
		info, err = bucket.Info{}, l.err
	}
	return info, err
}

func TestLostAnswerIsFoundOut(t *testing.T) {
	for _, lost := range []error{bucket.ErrUnavailable, bucket.ErrPrecondition} {
		b := &losing{memory.New(memory.Options{}), lost}
		s := record.New(b)
		v, err := record.Create[counter](t.Context(), s, "nodes/x", &counter{N: 1}, time.Time{})
		if err != nil {
			t.Fatalf("create, %v: %v", lost, err)
		}
		v2, err := record.Replace[counter](t.Context(), s, "nodes/x", v, &counter{N: 2}, time.Time{})
		if err != nil {
			t.Fatalf("replace, %v: %v", lost, err)
		}
		if _, err := record.Replace[counter](t.Context(), s, "nodes/x", v, &counter{N: 3}, time.Time{}); !errors.Is(err, bucket.ErrPrecondition) {
			t.Fatalf("replace of an old version: %v", err)
		}
		got, v3, err := record.Read[counter](t.Context(), s, "nodes/x")
		if err != nil || got.N != 2 || v3 != v2 {
			t.Fatalf("read: %+v %v %v", got, v3, err)
		}
	}
}

// A silent bucket takes a write, says that it was not the first, and then does
// not answer.
type silent struct{ bucket.Bucket }

func (b silent) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	_, _ = b.Bucket.Put(ctx, key, r, size, cond)
	return b.Bucket.Put(ctx, key, r, size, cond)
}

func (b silent) Get(context.Context, string, int64, int64) (io.ReadCloser, bucket.Info, error) {
	return nil, bucket.Info{}, bucket.ErrUnavailable
}

func TestWriteThatNobodyCanLookAtIsUnclear(t *testing.T) {
	s := record.New(silent{memory.New(memory.Options{})})
	_, err := record.Create[counter](t.Context(), s, "nodes/x", &counter{N: 1}, time.Time{})
	if !errors.Is(err, bucket.ErrUnavailable) || errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("it may be our own, but: %v", err)
	}
}

func TestSameContentIsAnotherVersion(t *testing.T) {
	s := record.New(memory.New(memory.Options{}))
	v1, err := record.Create[counter](t.Context(), s, "nodes/x", &counter{N: 1}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	v2, err := record.Replace[counter](t.Context(), s, "nodes/x", v1, &counter{N: 1}, time.Time{})
	if err != nil || v1 == v2 || v1.ETag == v2.ETag {
		t.Fatal(v1, v2, err)
	}
	if _, err := record.Create[counter](t.Context(), s, "nodes/x", &counter{N: 1}, time.Time{}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Fatal(err)
	}
}

func TestUpdatesOfManyAllCount(t *testing.T) {
	s := record.New(memory.New(memory.Options{}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := 0; done < 20; {
				_, _, err := record.Update(context.Background(), s, "nodes/x", time.Time{}, func(c *counter, exists bool) (bool, error) {
					c.N++
					return true, nil
				})
				if err == nil {
					done++
				} else if !errors.Is(err, bucket.ErrPrecondition) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if c, _, err := record.Read[counter](t.Context(), s, "nodes/x"); err != nil || c.N != 160 {
		t.Fatal(c.N, err)
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	b := memory.New(memory.Options{})
	s := record.New(b)
	for _, raw := range []string{"", "x", "[]", `{"n":1}`, `{"rev":""}`, `{"rev":1}`, strings.Repeat(" ", record.MaxSize+1)} {
		if _, err := b.Put(t.Context(), "nodes/x", strings.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := record.Read[counter](t.Context(), s, "nodes/x"); !errors.Is(err, record.ErrInvalid) || !strings.Contains(err.Error(), "nodes/x") {
			t.Errorf("%.20q: %v", raw, err)
		}
	}
	if _, _, err := record.Read[counter](t.Context(), s, "nodes/y"); !errors.Is(err, bucket.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"rev":"a","n":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := memory.New(memory.Options{})
		if _, err := b.Put(t.Context(), "nodes/x", bytes.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
		c, v, err := record.Read[counter](t.Context(), record.New(b), "nodes/x")
		if err == nil && (v.Rev == "" || c.Rev != v.Rev) {
			t.Fatal(c, v)
		}
	})
}
