package memory

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(*testing.T) bucket.Bucket { return New(Options{}) })
}

func TestContractWithSmallParts(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(*testing.T) bucket.Bucket { return New(Options{MinPart: 1}) })
}

func TestTimeIsTheClockGiven(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)
	b := New(Options{Now: func() time.Time { return now }})
	cond := bucket.Condition{NotAfter: now.Add(time.Second)}
	put := func() (bucket.Info, error) { return b.Put(t.Context(), "a", bytes.NewReader(nil), 0, cond) }
	if info, err := put(); err != nil || !info.Modified.Equal(now) {
		t.Errorf("put: %+v, %v", info, err)
	}
	now = now.Add(time.Second + 1)
	if _, err := put(); !errors.Is(err, bucket.ErrTooLate) {
		t.Errorf("put a nanosecond late: %v", err)
	}
	if at, err := b.Clock(t.Context()); err != nil || !at.Equal(now.Truncate(time.Second)) {
		t.Errorf("clock: %s, %v", at, err)
	}
}

func TestFull(t *testing.T) {
	b := New(Options{Capacity: 100, MinPart: 1})
	put := func(key string, size int) error {
		_, err := b.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), int64(size), bucket.Condition{})
		return err
	}
	if err := put("a", 60); err != nil {
		t.Fatal(err)
	}
	if err := put("b", 41); !errors.Is(err, bucket.ErrFull) {
		t.Errorf("put: %v", err)
	}
	if err := put("a", 100); err != nil { // its old bytes go
		t.Errorf("replace: %v", err)
	}
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	id, err := b.CreateMultipart(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	part, err := b.PutPart(t.Context(), "m", id, 1, bytes.NewReader(make([]byte, 90)), 90)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutPart(t.Context(), "m", id, 2, bytes.NewReader(make([]byte, 90)), 90); !errors.Is(err, bucket.ErrFull) {
		t.Errorf("put part: %v", err)
	}
	if _, err := b.CompleteMultipart(t.Context(), "m", id, []bucket.Part{part}, bucket.Condition{}); err != nil {
		t.Errorf("complete: %v", err)
	}
	if b.used != 90 {
		t.Errorf("%d bytes in use", b.used)
	}
}

func TestNoKeyIsAFolderOfAnother(t *testing.T) {
	b := New(Options{})
	put := func(key string) error {
		_, err := b.Put(t.Context(), key, bytes.NewReader(nil), 0, bucket.Condition{})
		return err
	}
	for _, key := range []string{"a/b", "a/b-c", "a/bc", "a-", "a/b"} {
		if err := put(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"a", "a/b/c", "a/b/c/d", "a/bc/d"} {
		if err := put(key); !errors.Is(err, bucket.ErrKey) {
			t.Errorf("put %s: %v", key, err)
		}
	}
}
