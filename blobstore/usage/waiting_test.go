package usage_test

import (
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// What becomes of the bytes of an image that nothing names any more, as each
// collection counts it.
func TestGarbageThatWaits(t *testing.T) {
	w := newWorld(t)
	c := w.counter(t)
	i := w.push(t, "demo/a", storetest.Build{Tars: [][]byte{storetest.Tar(200_000, "a")}}.Image(), "1")
	if err := w.images.Delete(t.Context(), "demo/a", i.Digest); err != nil {
		t.Fatal(err)
	}
	layer := int64(len(i.Blobs[i.Layers[0]])) // too large to be in its record
	all := size(i)
	for _, step := range []struct {
		what                            string
		later                           time.Duration
		unnamed, condemned, wait, blobs int64
	}{
		{"promised", 0, all, 0, 0, 3},
		{"condemned", 73 * time.Hour, all, all, 0, 3},
		{"collected", time.Hour, 0, 0, layer, 0},
		{"draining", time.Hour, 0, 0, layer, 0},
		{"freed", 25 * time.Hour, 0, 0, 0, 0},
	} {
		w.clock.Turn(step.later)
		if _, err := w.collector.Run(t.Context(), collect.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		u, err := c.Get(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if u.Unnamed != step.unnamed || u.Condemned != step.condemned || u.Draining != step.wait || u.Blobs != step.blobs || u.Stored != 0 {
			t.Errorf("%s: %+v", step.what, u)
		}
	}
}

// To count changes nothing: neither the blobs, nor what a dry run says of them.
func TestCountingCollectsNothing(t *testing.T) {
	w := newWorld(t)
	i := w.push(t, "demo/a", storetest.Build{Tars: [][]byte{storetest.Tar(200_000, "a")}}.Image(), "1")
	if err := w.images.Delete(t.Context(), "demo/a", i.Digest); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.clock.Turn(100 * time.Hour)
		if u := w.get(t, true); u.Condemned != size(i) || u.Unnamed != size(i) || u.Blobs != 3 {
			t.Errorf("%+v", u)
		}
	}
}

// What a node runs is held when its repository has it no more.
func TestWhatOnlyANodeNamesIsHeld(t *testing.T) {
	w := newWorld(t)
	base := storetest.Tar(100_000, "base")
	kept := w.push(t, "demo/a", storetest.Build{Tars: [][]byte{base}}.Image(), "1")
	runs := w.push(t, "demo/b", storetest.Build{Tars: [][]byte{base, storetest.Tar(2000, "b")}}.Image(), "1")
	err := fleet.New(w.store, w.images).Report(t.Context(), fleet.Node{ID: "n1", Containers: []fleet.Container{
		{Namespace: "default", ID: "c1", ImageDigest: runs.Digest},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if u := w.get(t, true); u.Held != 0 || u.Manifests != 2 {
		t.Errorf("of a repository: %+v", u)
	}
	if err := w.images.Delete(t.Context(), "demo/b", runs.Digest); err != nil {
		t.Fatal(err)
	}
	shared := int64(len(kept.Blobs[kept.Layers[0]]))
	if u := w.get(t, true); u.Held != size(runs)-shared || u.Stored != size(kept) || u.Named != size(kept) || u.Manifests != 1 || u.Unnamed != 0 || len(u.Repositories) != 1 {
		t.Errorf("of a node alone: %+v", u)
	}
}

// The lists end where they say, with the first of them all.
func TestListsOfTheLargest(t *testing.T) {
	w := newWorld(t)
	var sizes []int64
	for n := range 25 {
		i := w.push(t, "demo/a", storetest.Build{Tars: [][]byte{storetest.Tar(1000*(1+n*7%25), "a")}}.Image())
		w.clock.Turn(time.Minute)
		sizes = append(sizes, size(i))
	}
	u := w.get(t, true)
	if len(u.Largest) != 20 || len(u.LargestBlobs) != 20 || len(u.Oldest) != 20 {
		t.Fatalf("%d, %d and %d", len(u.Largest), len(u.LargestBlobs), len(u.Oldest))
	}
	for n := range 19 {
		if u.Largest[n].Size < u.Largest[n+1].Size || u.LargestBlobs[n].Size < u.LargestBlobs[n+1].Size || !u.Oldest[n].Pushed.Before(u.Oldest[n+1].Pushed) {
			t.Errorf("number %d is not in order", n)
		}
	}
	if u.Oldest[0].Size != sizes[0] || u.Oldest[19].Size != sizes[19] {
		t.Errorf("oldest: %+v", u.Oldest)
	}
}
