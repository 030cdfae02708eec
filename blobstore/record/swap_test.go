package record_test

import (
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/blobstore/storetest"
)

type swapped struct {
	record.Header
	N int `json:"n"`
}

func TestSwap(t *testing.T) {
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s := record.New(tricky)
	swap := func(old record.Version, n int) (int, record.Version, bool, error) {
		now, at, done, err := record.Swap(t.Context(), s, "a", old, &swapped{N: n}, time.Time{})
		return now.N, at, done, err
	}
	n, v1, done, err := swap(record.Version{}, 1)
	if n != 1 || !done || err != nil || v1 == (record.Version{}) {
		t.Fatalf("create: %d, %v, %v", n, done, err)
	}
	if n, at, done, err := swap(record.Version{}, 2); n != 1 || at != v1 || done || err != nil {
		t.Errorf("create what is there: %d, %v, %v", n, done, err)
	}
	n, v2, done, err := swap(v1, 2)
	if n != 2 || !done || err != nil {
		t.Errorf("replace: %d, %v, %v", n, done, err)
	}
	if n, at, done, err := swap(v1, 3); n != 2 || at != v2 || done || err != nil {
		t.Errorf("replace an old version: %d, %v, %v", n, done, err)
	}
	// The client below tries again, and meets what it wrote itself.
	tricky.Set(func(op, _ string, pass func() error) error {
		err := pass()
		if op == "put" {
			return pass()
		}
		return err
	})
	n, v3, done, err := swap(v2, 3)
	if n != 3 || !done || err != nil {
		t.Errorf("tried twice: %d, %v, %v", n, done, err)
	}
	// An answer that is lost, of a write that took effect and of one that did not.
	tricky.Set(func(op, _ string, pass func() error) error {
		if err := pass(); err != nil || op != "put" {
			return err
		}
		return bucket.ErrUnavailable
	})
	if n, _, done, err := swap(v3, 4); n != 4 || !done || err != nil {
		t.Errorf("answer lost: %d, %v, %v", n, done, err)
	}
	tricky.Set(func(op, _ string, pass func() error) error {
		if op == "put" {
			return bucket.ErrUnavailable
		}
		return pass()
	})
	if n, at, done, err := swap(v3, 5); n != 0 || at != (record.Version{}) || done || !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("request lost: %d, %v, %v", n, done, err)
	}
	tricky.Set(nil)
	if err := tricky.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, at, done, err := swap(v3, 6); n != 0 || at != (record.Version{}) || done || err != nil {
		t.Errorf("replace what is gone: %d, %v, %v", n, done, err)
	}
}
