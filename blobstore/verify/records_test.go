package verify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
)

// What else the bucket keeps is read too.
func TestOtherRecords(t *testing.T) {
	w := inMemory(t)
	ctx := context.Background()
	c := layers.New(w.store, layers.Options{Logger: storetest.Quiet()})
	w.images = images.New(w.store, c, images.Options{Logger: storetest.Quiet()})
	i := w.image(repo, "a", "v1")
	for n, l := range i.Layers {
		_, _, err := c.Wait(ctx, repo, l, i.DiffIDs[n])
		w.must(err)
	}
	w.must(c.Close(ctx))
	f := fleet.New(w.store, w.images)
	_, err := f.Register(ctx, fleet.Snapshot{
		ID: w.store.NewID(), Repository: repo, Image: images.Descriptor{Digest: i.Digest},
		ParentDiffIDs: i.DiffIDs[:1], DiffID: i.DiffIDs[1], NodeID: "n1",
		Container: fleet.Container{Namespace: "default", ID: "c1"},
	})
	w.must(err)
	_, err = w.store.StartUpload(ctx, repo, blobstore.UploadOptions{})
	w.must(err)
	w.clean()

	layer := layers.Key(realm.Default, i.DiffIDs[1])
	was := w.get(layer)
	w.set(layer, []byte(strings.Replace(string(was), `:{"size":`, `:{"size":1`, 1)))
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Misfit || f.Subject != layer {
		t.Errorf("%+v", f)
	}
	w.set(layers.Key(realm.Default, i.DiffIDs[0]), was)
	w.set(layer, was)
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Misfit || f.Subject != layers.Key(realm.Default, i.DiffIDs[0]) {
		t.Errorf("%+v", f)
	}
	w.remove(layers.Key(realm.Default, i.DiffIDs[0]))

	for _, prefix := range []string{"catalog/", "uploads/", "snapshots/"} {
		for info, err := range w.bucket.List(ctx, prefix, "") {
			w.must(err)
			was := w.get(info.Key)
			w.set(info.Key, []byte("null"))
			r := w.run(verify.RunOptions{})
			if f := only(t, r); f.Kind != verify.Unreadable || f.Subject != info.Key {
				t.Errorf("%s: %+v", info.Key, f)
			}
			w.set(info.Key, was)
		}
	}
	w.clean()

	// The snapshot keeps its image although that is deleted: and says when it did
	// not.
	w.must(w.images.Delete(ctx, repo, i.Digest))
	w.clean()
	w.remove(blobstore.BlobKey(i.Layers[1]))
	r := w.run(verify.RunOptions{})
	if f := only(t, r); f.Kind != verify.Dangling || !strings.HasPrefix(f.Subject, "snapshots/") || r.Bad != 1 {
		t.Error(show(r))
	}
}

// Only what the patterns mean is looked at.
func TestPatterns(t *testing.T) {
	w := inMemory(t)
	i, j := w.image(repo, "a", "v1"), w.image("team/x/y", "b", "v1")
	w.flip(w.data(large(j)))
	r := w.run(verify.RunOptions{Repositories: []string{"demo/*", "none"}})
	if r.Bad != 0 || r.Manifests != 1 || r.Blobs != 4 || r.Bytes != int64(len(i.Blobs[large(i)])) {
		t.Errorf("%+v", r)
	}
	r = w.run(verify.RunOptions{Repositories: []string{"team/**"}})
	if f := only(t, r); f.Kind != verify.Damaged || r.Manifests != 1 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []verify.RunOptions{
		{Repositories: []string{"Team"}}, {Repositories: []string{"none/**"}}, {Sample: 1.5}, {Sample: -1}, {Rate: -1},
	} {
		if r, err := w.verifier(verify.Options{}).Run(context.Background(), bad); err == nil {
			t.Errorf("%+v is taken: %+v", bad, r)
		}
	}
}

// A sample is the same each time; those of the seeds together are all; and blobs
// that are not in it are still looked for.
func TestSample(t *testing.T) {
	for _, patterns := range [][]string{nil, {"**"}} {
		w := inMemory(t)
		var all []storetest.Image
		for i := range 30 {
			all = append(all, w.image(repo, "i"+string(rune('a'+i))))
		}
		total := int64(0)
		for seed := range uint64(4) {
			o := verify.RunOptions{Sample: 0.25, Seed: seed, Repositories: patterns}
			first, second := w.run(o), w.run(o)
			if first.Bytes != second.Bytes || first.Read >= 20 || first.Blobs != 120 {
				t.Errorf("seed %d: %d bytes of %d blobs, then %d", seed, first.Bytes, first.Read, second.Bytes)
			}
			total += first.Read
		}
		if total != 30 {
			t.Errorf("four samples of a quarter read %d of 30 blobs", total)
		}
		w.remove(w.data(large(all[0])))
		k := w.data(large(all[1]))
		w.set(k, w.get(k)[:10])
		if r := w.run(verify.RunOptions{Sample: 1e-9, Repositories: patterns}); r.Lost != 1 || r.Damaged != 1 || r.Read != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// Data is not read faster than at the rate, by all readers together.
func TestRate(t *testing.T) {
	w := inMemory(t)
	for i := range 10 {
		w.image(repo, "i"+string(rune('a'+i)))
	}
	began := w.clock.Now()
	r := w.run(verify.RunOptions{Rate: 10_000, Parallel: 3})
	took := w.clock.Now().Sub(began)
	// What the bucket may hold at the beginning comes at once: a second's worth.
	if least := time.Duration(r.Bytes/10_000-1) * time.Second; took < least || took > least+3*time.Second || r.Bytes < 700_000 {
		t.Errorf("%d bytes took %v", r.Bytes, took)
	}
}
