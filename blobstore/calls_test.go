package blobstore_test

import (
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/count"
)

func TestAnswerIsAPromise(t *testing.T) {
	c := newClock()
	counted := count.New(newBucket(c))
	s := open(t, counted, options(c))
	_, d := put(t, s, 1000, 1)
	grace, skew := 72*time.Hour, 5*time.Minute
	for _, step := range []struct {
		after  time.Duration
		writes int64
	}{
		{0, 0},
		{18*time.Hour - time.Second, 0}, // three quarters are left
		{2 * time.Second, 1},            // a little less
		{17 * time.Hour, 0},
		{100 * time.Hour, 1}, // long over
	} {
		c.Turn(step.after)
		before := counted.Snapshot()
		b, err := s.Stat(t.Context(), repo, d)
		if err != nil {
			t.Fatal(err)
		}
		if left := b.Promised.Sub(c.Now()); left < grace/4*3-skew {
			t.Errorf("after %v: promised for %v only", step.after, left)
		}
		if n := counted.Snapshot().Put - before.Put; n != step.writes {
			t.Errorf("after %v: %d writes, want %d", step.after, n, step.writes)
		}
	}
}

func TestSmallBlobTakesTwoCalls(t *testing.T) {
	c := newClock()
	counted := count.New(newBucket(c))
	s := open(t, counted, options(c))
	put(t, s, blobstore.MaxInline, 1)
	if n := counted.Snapshot().Total(); n != 2 {
		t.Errorf("%d calls", n)
	}
}
