package collect

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// What one tenant had and was collected is not opened again when another uploads
// the same bytes, whether a cycle has come between or not.
func TestALinkToWhatWasCollectedOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	d := w.put("mine", "secret", 100_000)
	w.cycle(100 * time.Hour)
	w.bucket.set(func(_ context.Context, op, key string) error {
		if op == "put" && strings.HasPrefix(key, "repos/") {
			return errBroken // the links cannot be dealt with
		}
		return nil
	})
	w.clock.Turn(24 * time.Hour)
	if _, err := w.Run(t.Context(), RunOptions{}); err == nil {
		t.Fatal("no error")
	}
	w.bucket.set(nil)
	w.want("gone", d)
	if again := w.put("theirs", "secret", 100_000); again != d {
		t.Fatal("other bytes")
	}
	for range 3 {
		for in, want := range map[reference.Repository]bool{"mine": false, "theirs": true} {
			if held, err := w.store.HoldsBlob(t.Context(), in, d); err != nil || held != want {
				t.Errorf("%s holds it: %v, %v", in, held, err)
			}
		}
		w.cycle(time.Hour)
	}
	// The link of the life before goes in a full cycle.
	w.clock.Turn(time.Hour)
	_, fs := w.findings(false, true)
	i := slices.IndexFunc(fs, func(f Finding) bool { return f.Kind == KindLink && f.Repository == "mine" })
	if i < 0 || fs[i].Step != blobstore.Removed {
		t.Errorf("%+v", fs)
	}
	if held, err := w.store.HoldsBlob(t.Context(), "theirs", d); err != nil || !held {
		t.Errorf("theirs holds it: %v, %v", held, err)
	}
}

// A tag whose manifest was deleted becomes a tombstone; one that has moved on to
// another is left alone.
func TestTagsThatDoNotCountGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a, b := image("a", 10), image("b", 10)
	w.push(repo, a, "dead", "moved")
	w.push(repo, b, "moved", "untagged", "live")
	w.rm(repo, a.Digest)
	w.must(w.images.Untag(t.Context(), repo, "untagged"))
	_, fs := w.findings(false, false)
	var tags []string
	for _, f := range fs {
		if f.Kind == KindTag {
			tags = append(tags, f.Subject)
		}
	}
	if !slices.Equal(tags, []string{"dead"}) {
		t.Errorf("findings: %+v", fs)
	}
	w.cycles(8)
	if left := w.keys("repos/demo/app/_tags/"); !slices.Equal(left, []string{"repos/demo/app/_tags/live", "repos/demo/app/_tags/moved"}) {
		t.Errorf("left: %v", left)
	}
	// A name that has been removed for good can be written anew.
	w.must(w.images.Tag(t.Context(), repo, "dead", b.Digest, images.Expect{}))
	w.push(repo, a, "untagged")
	w.cycles(1)
	if n := len(w.keys("repos/demo/app/_tags/")); n != 4 {
		t.Errorf("%d tags", n)
	}
}

// A full cycle finds data that no record names, and frees it when nobody can
// publish it any more.
func TestAFullCycleFindsOrphans(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := image("a", 100_000)
	w.push(repo, a, "1")
	id := w.store.NewID()
	orphan := storetest.Bytes(70_000, "orphan")
	put := func(id string, b []byte) {
		_, err := w.bucket.Bucket.Put(t.Context(), "data/"+id, bytes.NewReader(b), int64(len(b)), bucket.Condition{})
		w.must(err)
	}
	put(id, orphan)
	count := func() int { return len(w.keys("data/")) }
	at := count()
	w.cycles(12)
	if count() != at {
		t.Errorf("a cycle that is not full deletes data that it has not seen")
	}
	put(w.store.NewID(), storetest.Bytes(70_000, "young"))
	w.clock.Turn(time.Hour)
	dry, fs := w.findings(true, true)
	r, gs := w.findings(false, true)
	if r.Orphans != 1 || dry.Orphans != 1 || r.FreedBytes != 70_000 || !slices.Equal(fs, gs) {
		t.Errorf("%+v\n%+v\n%+v", r, fs, gs)
	}
	if count() != at {
		t.Errorf("%d data objects, not %d", count(), at)
	}
	w.readable(all(a)...)
	w.clock.Turn(10 * 24 * time.Hour)
	if r, _ := w.findings(false, true); r.Orphans != 1 || count() != at-1 {
		t.Errorf("%d data objects, %+v", count(), r)
	}
	w.readable(all(a)...)
	w.want("live", all(a)...)
}

// An upload that goes on is not touched, however many cycles come between its
// pieces.
func TestASlowUploadGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	b := storetest.Bytes(600_000, "slow")
	d := digest.FromBytes(b)
	up, err := w.store.StartUpload(t.Context(), repo, blobstore.UploadOptions{})
	w.must(err)
	for i := range 6 {
		_, err := up.Append(t.Context(), int64(i)*100_000, bytes.NewReader(b[i*100_000:(i+1)*100_000]))
		w.must(err)
		w.clock.Turn(3 * time.Hour)
		w.findings(false, true)
	}
	_, err = up.Commit(t.Context(), d)
	w.must(err)
	w.readable(d)
	w.cycle(time.Hour)
	w.readable(d)
	w.cycles(12)
	if left := w.keys(garbage...); len(left) > 0 {
		t.Errorf("left when nothing names it: %v", left)
	}
}

// Records of layers go in a full cycle when all blobs are gone, or when their
// realm is configured no more.
func TestRecordsOfLayersGo(t *testing.T) {
	t.Parallel()
	realms, err := realm.Parse("team=team")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{Realms: realms})
	c := layers.New(w.store, layers.Options{Realms: realms, Logger: storetest.Quiet()})
	defer c.Close(context.Background())
	a, b := image("a", 10), image("b", 10)
	for _, in := range []reference.Repository{repo, "team/app"} {
		w.push(in, a, "1")
		for i, l := range a.Layers {
			if _, problem, err := c.Wait(t.Context(), in, l, a.DiffIDs[i]); problem != "" || err != nil {
				t.Fatal(problem, err)
			}
		}
	}
	w.push(repo, b, "1")
	for i, l := range b.Layers {
		if _, problem, err := c.Wait(t.Context(), repo, l, b.DiffIDs[i]); problem != "" || err != nil {
			t.Fatal(problem, err)
		}
	}
	w.rm(repo, b.Digest)
	w.cycles(8)
	count := func() int { return len(w.keys("layers/")) }
	if n := count(); n != 6 {
		t.Fatalf("%d records of layers, not 6", n)
	}
	w.findings(false, true)
	if n := count(); n != 4 {
		t.Errorf("%d records of layers, not 4", n)
	}
	w.Collector = New(w.store, w.images, w.fleet, Options{Logger: storetest.Quiet(), Temp: t.TempDir()})
	w.findings(false, true)
	if n := count(); n != 2 || len(w.keys("layers/default/")) != 2 {
		t.Errorf("%d records of layers, not 2", n)
	}
}
