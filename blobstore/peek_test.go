package blobstore_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
)

func TestPeekKeepsNothing(t *testing.T) {
	s, c, b := newStore(t)
	for _, n := range []int{0, 100, 200_000} {
		want, d := put(t, s, n, 1)
		c.Turn(100 * time.Hour) // the promise is over
		edit(t, b, d, func(r map[string]any) { r["state"] = "condemned" })
		_, promised := state(t, b, d)
		got, err := s.Peek(t.Context(), d, 1<<20)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came, %v", n, len(got), err)
		}
		if now, until := state(t, b, d); now != "condemned" || !until.Equal(promised) {
			t.Errorf("a look at %d bytes has made it %s, promised until %v", n, now, until)
		}
		if _, err := s.Peek(t.Context(), d, int64(n)-1); !errors.Is(err, blobstore.ErrTooLarge) {
			t.Errorf("more than was asked for: %v", err)
		}
		edit(t, b, d, func(r map[string]any) { r["state"] = "gone" })
		if _, err := s.Peek(t.Context(), d, 1<<20); !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Errorf("one that is gone: %v", err)
		}
	}
}
