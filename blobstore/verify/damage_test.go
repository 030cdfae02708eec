package verify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
)

// Every kind of damage is found, named by the image that has it, and put back where
// the store still has what it takes.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(w *world, i storetest.Image)
		kind   verify.Kind
		// subject is what the finding must be about: the large layer if it is nil.
		subject func(i storetest.Image) string
		done    string // without repair
		mended  bool   // with repair
	}{
		{"a bit flipped in data", func(w *world, i storetest.Image) { w.flip(w.data(large(i))) }, verify.Damaged, nil, verify.Quarantined, false},
		{"data cut short", func(w *world, i storetest.Image) {
			k := w.data(large(i))
			w.set(k, w.get(k)[:1000])
		}, verify.Damaged, nil, verify.Quarantined, false},
		{"data gone", func(w *world, i storetest.Image) { w.remove(w.data(large(i))) }, verify.Lost, nil, verify.Quarantined, false},
		{"a record gone, its data still there", func(w *world, i storetest.Image) { w.remove(blobstore.BlobKey(large(i))) },
			verify.PartGone, nil, "", true},
		{"a record of a small blob gone", func(w *world, i storetest.Image) { w.remove(blobstore.BlobKey(i.Config)) },
			verify.PartGone, func(i storetest.Image) string { return string(i.Config) }, "", false},
		{"a manifest's record gone", func(w *world, i storetest.Image) { w.remove(blobstore.BlobKey(i.Digest)) },
			verify.PartGone, func(i storetest.Image) string { return string(i.Digest) }, "", false},
		{"a record that is no JSON, its data still there", func(w *world, i storetest.Image) { w.set(blobstore.BlobKey(large(i)), []byte("{")) },
			verify.Unreadable, nil, "", true},
		{"a record without a rev", func(w *world, i storetest.Image) { w.set(blobstore.BlobKey(large(i)), []byte("{}")) },
			verify.Unreadable, nil, "", true},
		{"a small blob's bytes changed in its record", func(w *world, i storetest.Image) {
			k := blobstore.BlobKey(i.Config)
			w.set(k, []byte(strings.Replace(string(w.get(k)), `"inline":"ey`, `"inline":"fy`, 1)))
		}, verify.Unreadable, func(i storetest.Image) string { return string(i.Config) }, "", false},
		{"a record of another blob", func(w *world, i storetest.Image) {
			k := blobstore.BlobKey(large(i))
			w.set(k, []byte(strings.Replace(string(w.get(k)), string(large(i)), string(digest.FromString("another")), 1)))
		}, verify.Unreadable, nil, "", true},
		{"a repository's link to a layer gone", func(w *world, i storetest.Image) { w.remove(blobstore.BlobLinkKey(repo, large(i))) },
			verify.Unlinked, nil, "", true},
		{"a tag that is no record", func(w *world, i storetest.Image) { w.set("repos/demo/app/_tags/v1", []byte("x")) },
			verify.Unreadable, func(storetest.Image) string { return "repos/demo/app/_tags/v1" }, "", false},
		{"a manifest's link gone", func(w *world, i storetest.Image) { w.remove(images.ManifestKey(repo, i.Digest)) },
			verify.Dangling, func(storetest.Image) string { return "repos/demo/app/_tags/v1" }, "", true},
		{"a manifest's link that is no record", func(w *world, i storetest.Image) { w.set(images.ManifestKey(repo, i.Digest), []byte("[]")) },
			verify.Unreadable, func(i storetest.Image) string { return images.ManifestKey(repo, i.Digest) }, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			buckets(t, func(t *testing.T, w *world) {
				i := w.image(repo, "a", "v1")
				w.image(other, "b", "v1")
				w.clean()
				c.damage(w, i)
				want := string(large(i))
				if c.subject != nil {
					want = c.subject(i)
				}
				r := w.run(verify.RunOptions{})
				f := only(t, r)
				if f.Kind != c.kind || f.Subject != want || f.Done != c.done || f.Remedy == "" {
					t.Errorf("want %s of %s [%s], got:%s", c.kind, want, c.done, show(r))
				}
				if r.Bad != 1 {
					t.Errorf("bad: %d", r.Bad)
				}
				if !strings.Contains(want, "_tags") || c.kind == verify.Dangling {
					names(t, f, repo, i.Digest, "v1")
				} else if len(f.Images) != 1 || f.Images[0].Tags[0] != "v1" {
					t.Errorf("it names the images %+v", f.Images)
				}

				r = w.run(verify.RunOptions{Repair: true})
				f = only(t, r)
				if c.mended != (f.Done == verify.Repaired) || c.mended != (r.Bad == 0) {
					t.Fatalf("with repair:%s", show(r))
				}
				err := w.pull(repo, i, "v1")
				if c.mended != (err == nil) {
					t.Errorf("repaired: %v; pull: %v", c.mended, err)
				}
				if !c.mended { // pushing it again mends everything
					w.store = storetest.Open(t, w.bucket, w.clock)
					w.images = images.New(w.store, nil, images.Options{Logger: storetest.Quiet()})
					w.push(repo, i, "v1")
					w.must(w.pull(repo, i, "v1"))
				}
				w.clean()
				w.must(w.pull(other, w.image(other, "b", "v1"), "v1"))
			})
		})
	}
}

// large is the layer of an image that is not in its record.
func large(i storetest.Image) digest.Digest { return i.Layers[1] }

// A bit that is flipped on the way once is no finding, and nothing is quarantined.
func TestFlipOnTheWay(t *testing.T) {
	w := inMemory(t)
	i := w.image(repo, "a", "v1")
	key := w.data(large(i))
	bad := true
	w.bucket.Set(func(op, k string, pass func() error) error {
		if op != "get" || k != key || !bad {
			return pass()
		}
		bad = false
		w.flip(key)
		err := pass()
		w.flip(key)
		return err
	})
	r := w.run(verify.RunOptions{})
	if r.Bad != 0 || r.Flips != 1 {
		t.Fatalf("%d flips:%s", r.Flips, show(r))
	}
	w.data(large(i)) // it still is a copy
}

// A blob that several images have is one finding with all of them; an index is
// named by what it leads to.
func TestImagesOfABlob(t *testing.T) {
	w := inMemory(t)
	shared := storetest.Tar(200_000, "shared")
	a := storetest.Build{Tars: [][]byte{shared}}.Image()
	b := storetest.Build{Tars: [][]byte{storetest.Tar(10, "own"), shared}}.Image()
	w.push(repo, a, "a", "latest")
	w.push(other, b, "b")
	index := storetest.Index(b.Descriptor())
	w.push(other, index, "multi")
	w.flip(w.data(a.Layers[0]))
	f := only(t, w.run(verify.RunOptions{}))
	if f.ImagesTotal != 3 {
		t.Fatalf("%+v", f.Images)
	}
	got := map[digest.Digest]string{}
	for _, i := range f.Images {
		for _, tag := range i.Tags {
			got[i.Manifest] += string(i.Repository) + ":" + string(tag) + " "
		}
	}
	if got[a.Digest] != "demo/app:a demo/app:latest " || got[b.Digest] != "demo/other:b " || got[index.Digest] != "demo/other:multi " {
		t.Errorf("%v", got)
	}
}

// Damage that no image has is found too.
func TestBlobThatNoImageNames(t *testing.T) {
	w := inMemory(t)
	b := storetest.Bytes(100_000, "x")
	d := digest.FromBytes(b)
	_, err := w.store.Put(context.Background(), repo, d, int64(len(b)), strings.NewReader(string(b)))
	w.must(err)
	w.flip(w.data(d))
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Damaged || len(f.Images) != 0 {
		t.Fatalf("%+v", f)
	}
	// Now it is quarantined, and has no copy left.
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Lost || f.Done != "" {
		t.Fatalf("%+v", f)
	}
}

// A blob with two copies, one of them bad, can be read all the time.
func TestOneOfTwoCopies(t *testing.T) {
	w := inMemory(t)
	i := w.image(repo, "a", "v1")
	first := w.data(large(i))
	second := w.store.NewID()
	w.set(blobstore.DataPrefix+second, w.get(first))
	key := blobstore.BlobKey(large(i))
	id := strings.TrimPrefix(first, blobstore.DataPrefix)
	w.set(key, []byte(strings.Replace(string(w.get(key)), `"`+id+`"`, `"`+id+`","`+second+`"`, 1)))
	w.clean()
	w.flip(first)
	f := only(t, w.run(verify.RunOptions{}))
	if f.Kind != verify.Damaged || f.Done != verify.Quarantined || !strings.Contains(f.Problem, "another copy is sound") {
		t.Fatalf("%+v", f)
	}
	w.must(w.pull(repo, i, "v1"))
	w.clean()
	w.remove(blobstore.DataPrefix + second)
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Lost {
		t.Fatalf("%+v", f)
	}
}
