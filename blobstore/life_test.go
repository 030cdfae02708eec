package blobstore_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

func TestPushedAgainAfterItWasCollected(t *testing.T) {
	s, c, b := exactStore(t)
	data, d := put(t, s, 700_000, 1)
	first, err := s.Describe(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	collect(t, s, c, d)
	unknown(t, "before", second(s.Stat(t.Context(), repo, d)))
	put(t, s, 700_000, 1)
	info, err := s.Describe(t.Context(), d)
	if err != nil || info.State != "live" || len(info.Copies) != 1 || len(info.Drop) != 1 || info.Drop[0] != first.Copies[0] {
		t.Fatalf("%+v, %v", info, err)
	}
	if j, err := s.FreeDropped(t.Context(), d, false); err != nil || j.Step != blobstore.Draining {
		t.Fatalf("%+v, %v", j, err)
	}
	c.Turn(drain)
	mustRead(t, s, d, data)
	if j, err := s.FreeDropped(t.Context(), d, true); err != nil || j.Step != blobstore.Freed || j.Freed != 700_000 {
		t.Fatalf("dry: %+v, %v", j, err)
	}
	if n := len(keys(t, b, "data/")); n != 2 {
		t.Fatalf("%d data objects after a dry run", n)
	}
	if j, err := s.FreeDropped(t.Context(), d, false); err != nil || j.Freed != 700_000 {
		t.Fatalf("%+v, %v", j, err)
	}
	mustRead(t, s, d, data)
	nothingLeft(t, b, c, d)
}

func TestALinkCountsForOneLifeOfItsBlob(t *testing.T) {
	const ours, theirs = repo, reference.Repository("theirs/app")
	for name, removed := range map[string]bool{"a tombstone between": false, "the tombstone removed": true} {
		c := newClock()
		b := newBucket(c)
		s := open(t, b, exact(c))
		data, d := put(t, s, 100_000, 1)
		collect(t, s, c, d)
		if removed {
			c.Turn(drain)
			becomes(t, s, c, d, blobstore.Freed)
			c.Turn(orphanAge)
			becomes(t, s, c, d, blobstore.Removed)
		}
		if _, err := s.Put(t.Context(), theirs, d, -1, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*blobstore.Store{s, open(t, b, exact(c))} {
			unknown(t, name+": stat", second(s.Stat(t.Context(), ours, d)))
			unknown(t, name+": open", second(s.Open(t.Context(), ours, d, 0, -1)))
			unknown(t, name+": mount", second(s.Mount(t.Context(), "third/app", ours, d)))
			if held, err := s.HoldsBlob(t.Context(), ours, d); held || err != nil {
				t.Fatalf("%s: holds: %v, %v", name, held, err)
			}
			if held, err := s.HoldsBlob(t.Context(), theirs, d); !held || err != nil {
				t.Fatalf("%s: theirs holds: %v, %v", name, held, err)
			}
		}
		if _, err := s.Put(t.Context(), ours, d, -1, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*blobstore.Store{s, open(t, b, exact(c))} {
			mustRead(t, s, d, data)
			if _, err := s.Stat(t.Context(), theirs, d); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestABlobFromBeforeThereWereLives(t *testing.T) {
	s, c, b := exactStore(t)
	data, d := blob(1000, 1)
	raw := `{"rev":"x","digest":"` + string(d) + `","size":1000,"state":"live","promise":"` + c.Now().Add(time.Hour).Format(time.RFC3339) + `","copies":["01KJMMA2G0000000000000000A"]}`
	store(t, b, blobstore.BlobKey(d), raw)
	store(t, b, "data/01KJMMA2G0000000000000000A", string(data))
	store(t, b, blobstore.BlobLinkKey(repo, d), `{"rev":"y","generation":"g","since":"2026-01-01T00:00:00Z"}`)
	mustRead(t, s, d, data)
}
