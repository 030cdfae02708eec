package blobstore_test

import (
	"bytes"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/count"
)

// A server that has fallen behind another takes bytes that belong "where the
// upload is" for the ones that came before, unless it is told where that is.
func TestAServerThatFellBehindCatchesUp(t *testing.T) {
	for _, n := range []int{10, 100_000, partSize + 10, 3 * partSize} {
		for _, piece := range []int{10, 100_000, partSize} {
			c := newClock()
			b := newBucket(c)
			first, second := open(t, b, options(c)), open(t, b, options(c))
			content, d := blob(n+piece, uint64(n))
			u := start(t, first)
			behind := resume(t, second, u.ID()) // knows of nothing
			at, err := u.Append(t.Context(), -1, bytes.NewReader(content[:n]))
			if err != nil || at != int64(n) {
				t.Fatal(at, err)
			}
			if err := behind.CatchUp(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if _, err := behind.Finish(t.Context(), -1, bytes.NewReader(content[n:]), d); err != nil {
				t.Fatalf("%d and %d bytes: %v", n, piece, err)
			}
			mustRead(t, first, d, content)
		}
	}
}

func TestCatchingUpAsksOnlyWhoIsBehind(t *testing.T) {
	c := newClock()
	counted := count.New(newBucket(c))
	s := open(t, counted, options(c))
	u := start(t, s)
	if _, err := u.Append(t.Context(), -1, bytes.NewReader(make([]byte, 100))); err != nil {
		t.Fatal(err)
	}
	before := counted.Snapshot()
	for _, at := range []int64{-1, 0, 99, 100} {
		if err := u.CatchUp(t.Context(), at); err != nil {
			t.Error(err)
		}
	}
	if n := counted.Snapshot().Sub(before).Total(); n != 0 {
		t.Errorf("%d calls", n)
	}
}
