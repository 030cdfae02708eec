package verify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/reference"
)

// elsewhere is another registry.
type elsewhere map[digest.Digest][]byte

func (e elsewhere) String() string { return "docker://elsewhere/app" }

func (e elsewhere) Open(_ context.Context, d digest.Digest, _ int64) (io.ReadCloser, error) {
	b, ok := e[d]
	if !ok {
		return nil, errors.New("not there")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// What the store has nowhere comes from another registry, which need not be right.
func TestRepairFromElsewhere(t *testing.T) {
	buckets(t, func(t *testing.T, w *world) {
		i := w.image(repo, "a", "v1")
		for d := range i.Blobs {
			_, err := w.store.Mount(context.Background(), other, repo, d)
			w.must(err)
		}
		_, err := w.images.Put(context.Background(), other, images.PutOptions{Bytes: i.Manifest, Tags: []reference.Tag{"same"}})
		w.must(err)
		w.flip(w.data(large(i)))
		w.remove(blobstore.BlobKey(i.Config))
		w.remove(blobstore.BlobKey(i.Digest))
		from := elsewhere{large(i): storetest.Bytes(200_000, "wrong"), i.Config: i.Blobs[i.Config], i.Digest: i.Manifest}
		r := w.run(verify.RunOptions{Repair: true, From: from})
		// What the manifest names is not known before that is back.
		if r.Repaired != 1 || r.Bad != 1 || r.Damaged != 1 {
			t.Fatalf("one is wrong elsewhere:%s", show(r))
		}
		from[large(i)] = i.Blobs[large(i)]
		r = w.run(verify.RunOptions{Repair: true, From: from})
		if r.Repaired != 2 || r.Bad != 0 {
			t.Fatalf("all are right elsewhere:%s", show(r))
		}
		w.clean()
		w.must(w.pull(repo, i, "v1"))
		w.must(w.pull(other, i, "same"))
	})
}

// An upload that nobody has finished, or another server's of the same blob that came
// too late, has the bytes.
func TestRepairFromAnUpload(t *testing.T) {
	for _, patterns := range [][]string{nil, {"demo/*"}} {
		w := inMemory(t)
		i := w.image(repo, "a", "v1")
		w.flip(w.data(large(i)))
		u, err := w.store.StartUpload(context.Background(), other, blobstore.UploadOptions{})
		w.must(err)
		_, err = u.Append(context.Background(), 0, bytes.NewReader(i.Blobs[large(i)]))
		w.must(err)
		r := w.run(verify.RunOptions{Repair: true, Repositories: patterns})
		if f := only(t, r); f.Done != verify.Repaired || r.Bad != 0 {
			t.Fatal(show(r))
		}
		w.clean()
		w.must(w.pull(repo, i, "v1"))
	}
}

// A copy that was quarantined and is sound after all comes back; and so does one
// that an orphan has.
func TestRepairFromQuarantineAndOrphans(t *testing.T) {
	w := inMemory(t)
	i, j := w.image(repo, "a", "v1"), w.image(repo, "b", "v2")
	key := w.data(large(i))
	w.flip(key)
	orphan := blobstore.DataPrefix + ulid.MustNew(ulid.Timestamp(w.clock.Now().Add(-1000*time.Hour)), bytes.NewReader(make([]byte, 10))).String()
	w.set(orphan, j.Blobs[large(j)])
	w.flip(w.data(large(j)))
	r := w.run(verify.RunOptions{})
	if r.Damaged != 2 || r.Bad != 2 || r.Orphans != 1 {
		t.Fatal(show(r))
	}
	w.flip(key) // memory of the S3 server was at fault, and was replaced
	if r = w.run(verify.RunOptions{Repair: true}); r.Lost != 2 || r.Repaired != 2 || r.Bad != 0 {
		t.Fatal(show(r))
	}
	w.clean()
	w.must(w.pull(repo, i, "v1"))
	w.must(w.pull(repo, j, "v2"))
}

// A blob that was taken although an image names it, as after a hole in the
// protocol: its links are of its earlier life then, and are made anew.
func TestCollectedAlthoughNamed(t *testing.T) {
	w := inMemory(t)
	ctx := context.Background()
	i := w.image(repo, "a", "v1")
	step := func(want blobstore.Step) {
		t.Helper()
		w.clock.Turn(100 * time.Hour)
		j, err := w.store.Judge(ctx, large(i), w.clock.Now(), false)
		w.must(err)
		if j.Step != want {
			t.Fatalf("%+v", j)
		}
	}
	step(blobstore.Condemned)
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Condemned {
		t.Fatalf("%+v", f)
	} else {
		names(t, f, repo, i.Digest, "v1")
	}
	if r := w.run(verify.RunOptions{Repair: true}); r.Repaired != 1 || r.Bad != 0 {
		t.Fatal(show(r))
	}
	w.clean()

	step(blobstore.Condemned)
	step(blobstore.Collected)
	f := only(t, w.run(verify.RunOptions{}))
	if f.Kind != verify.PartGone {
		t.Fatalf("%+v", f)
	}
	names(t, f, repo, i.Digest, "v1")
	// Somebody else pushes it: which does not open it here.
	b := i.Blobs[large(i)]
	_, err := w.store.Put(ctx, other, large(i), int64(len(b)), bytes.NewReader(b))
	w.must(err)
	if f := only(t, w.run(verify.RunOptions{})); f.Kind != verify.Unlinked {
		t.Fatalf("%+v", f)
	}
	if r := w.run(verify.RunOptions{Repair: true}); r.Repaired != 1 || r.Bad != 0 {
		t.Fatal(show(r))
	}
	w.clean()
	w.must(w.pull(repo, i, "v1"))
}

// Data that no record names is an orphan once it is old; until then it may be an
// upload's. Neither is bad.
func TestOrphans(t *testing.T) {
	w := inMemory(t)
	w.image(repo, "a", "v1")
	u, err := w.store.StartUpload(context.Background(), repo, blobstore.UploadOptions{})
	w.must(err)
	_, err = u.Append(context.Background(), 0, strings.NewReader(strings.Repeat("x", 100_000)))
	w.must(err)
	if r := w.clean(); r.Waiting != 1 || r.Orphans != 0 {
		t.Fatalf("%+v", r)
	}
	w.clock.Turn(121 * time.Hour)
	var told []verify.Finding
	r := w.run(verify.RunOptions{Each: func(f verify.Finding) { told = append(told, f) }})
	if r.Waiting != 0 || r.Orphans != 1 || r.OrphanBytes != 100_000 || r.Bad != 0 || len(r.Findings) != 0 {
		t.Fatalf("%+v", r)
	}
	if len(told) != 1 || told[0].Kind != verify.Orphan || !strings.HasPrefix(told[0].Subject, "data/") {
		t.Errorf("%+v", told)
	}
}
