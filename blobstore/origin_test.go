package blobstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// pushTo stores b in a repository.
func pushTo(t *testing.T, s *blobstore.Store, to reference.Repository, b []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(b)
	if _, err := s.Put(t.Context(), to, d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return d
}

func readable(reference.Repository) bool   { return true }
func unreadable(reference.Repository) bool { return false }

func TestMountFromWhereItWasUploaded(t *testing.T) {
	for _, size := range []int{10, blobstore.MaxInline + 1} {
		c := newClock()
		b := newBucket(c)
		s, other := open(t, b, options(c)), open(t, b, options(c))
		content, d := blob(size, 1)
		pushTo(t, s, "team/a", content)
		if _, err := other.MountFromAny(t.Context(), "b", d, unreadable); !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Errorf("from a repository that may not be read: %v", err)
		}
		if held, err := other.HoldsBlob(t.Context(), "b", d); held || err != nil {
			t.Errorf("it is mounted all the same: %v, %v", held, err)
		}
		if m, err := other.MountFromAny(t.Context(), "b", d, readable); err != nil || m.Size != int64(size) {
			t.Errorf("%+v, %v", m, err)
		}
		if held, err := s.HoldsBlob(t.Context(), "b", d); !held || err != nil {
			t.Errorf("not mounted: %v", err)
		}
		if err := s.Unlink(t.Context(), "team/a", d); err != nil {
			t.Fatal(err)
		}
		if _, err := s.MountFromAny(t.Context(), "c", d, readable); !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Errorf("from a repository that no longer has it: %v", err)
		}
		if _, err := s.MountFromAny(t.Context(), "b", d, unreadable); err != nil {
			t.Errorf("what the repository has itself: %v", err)
		}
	}
}

// A record names no more of them than a few, and is not written for them alone.
func TestOriginsAreAFew(t *testing.T) {
	s, c, b := newStore(t)
	content, d := blob(10, 1)
	origins := func() (r []string) {
		t.Helper()
		body, _, err := b.Get(t.Context(), blobstore.BlobKey(d), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		raw, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		var record struct{ Origins []string }
		if err := json.Unmarshal(raw, &record); err != nil {
			t.Fatal(err)
		}
		return record.Origins
	}
	for i := range 6 {
		for range 2 {
			pushTo(t, s, reference.Repository(fmt.Sprintf("r%d", i)), content)
		}
		c.Turn(s.Options().Grace) // the next one writes the record anyway
	}
	if got, want := origins(), []string{"r2", "r3", "r4", "r5"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	pushTo(t, s, "r7", content)
	pushTo(t, s, "r8", content)
	if got, want := origins(), []string{"r3", "r4", "r5", "r7"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: the record was written for the origin alone", got, want)
	}
}
