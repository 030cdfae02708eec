package collect

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

func (w *world) report(node string, ds ...digest.Digest) {
	w.t.Helper()
	n := fleet.Node{ID: node}
	for _, d := range ds {
		n.Containers = append(n.Containers, fleet.Container{Namespace: "n", ID: d.Encoded()[:12], ImageDigest: d, CreatedAt: time.Unix(1, 0)})
	}
	w.must(w.fleet.Report(w.t.Context(), n))
}

func (w *world) register(in reference.Repository, i storetest.Image) string {
	w.t.Helper()
	id := w.store.NewID()
	top := len(i.Layers) - 1
	_, err := w.fleet.Register(w.t.Context(), fleet.Snapshot{
		ID: id, Repository: in, Image: images.Descriptor(descriptor(i.Descriptor())), NodeID: "node",
		ParentDiffIDs: i.DiffIDs[:top], DiffID: i.DiffIDs[top],
		Diff:      images.Descriptor{Digest: i.Layers[top], MediaType: ocispec.MediaTypeImageLayerGzip, Size: int64(len(i.Blobs[i.Layers[top]]))},
		Container: fleet.Container{Namespace: "n", ID: "c"},
	})
	w.must(err)
	return id
}

func descriptor(d ocispec.Descriptor) images.Descriptor {
	return images.Descriptor{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size}
}

// Each kind of root keeps all it names and nothing more, and what it kept goes
// when it goes.
func TestWhatARootNamesStaysAndTheRestGoes(t *testing.T) {
	t.Parallel()
	a, b := image("a", 100_000), image("b", 100)
	inner := storetest.Index(a.Descriptor(), b.Descriptor())
	outer := storetest.Index(inner.Descriptor())
	absent := image("absent", 10)
	sparse := storetest.Index(a.Descriptor(), absent.Descriptor())
	subject := b.Descriptor()
	referrer := storetest.Build{Subject: &subject, Tars: [][]byte{storetest.Tar(10, "signature")}}.Image()
	for _, c := range []struct {
		name string
		make func(w *world) (remove func())
		kept []digest.Digest
	}{
		{"nothing", func(w *world) func() { w.put(repo, "lonely", 100_000); w.put(repo, "small", 10); return func() {} }, nil},
		{"a manifest with a tag", func(w *world) func() {
			w.push(repo, a, "1")
			return func() { w.rm(repo, a.Digest) }
		}, all(a)},
		{"a manifest without one", func(w *world) func() {
			w.push(repo, a, "1")
			w.must(w.images.Untag(w.t.Context(), repo, "1"))
			return func() { w.rm(repo, a.Digest) }
		}, all(a)},
		{"an index whose manifests are linked", func(w *world) func() {
			w.push(repo, a)
			w.push(repo, b)
			w.push(repo, inner, "1")
			return func() { w.rm(repo, inner.Digest); w.rm(repo, a.Digest); w.rm(repo, b.Digest) }
		}, all(a, b, inner)},
		{"an index in an index, whose manifests are not linked any more", func(w *world) func() {
			w.push(repo, a)
			w.push(repo, b)
			w.push(repo, inner)
			w.push(repo, outer, "1")
			w.rm(repo, a.Digest)
			w.rm(repo, b.Digest)
			w.rm(repo, inner.Digest)
			return func() { w.rm(repo, outer.Digest) }
		}, all(a, b, inner, outer)},
		{"a sparse index", func(w *world) func() {
			w.push(repo, a)
			w.push(repo, sparse, "1")
			w.rm(repo, a.Digest)
			return func() { w.rm(repo, sparse.Digest) }
		}, all(a, sparse)},
		{"a referrer without its subject", func(w *world) func() {
			w.push(repo, b)
			w.push(repo, referrer)
			w.rm(repo, b.Digest)
			return func() { w.rm(repo, referrer.Digest) }
		}, all(referrer)},
		{"the manifest in one of two repositories", func(w *world) func() {
			w.push(repo, a, "1")
			w.push("other", a, "1")
			w.rm(repo, a.Digest)
			return func() { w.rm("other", a.Digest) }
		}, all(a)},
		{"a registered snapshot", func(w *world) func() {
			w.push(repo, a, "1")
			id := w.register(repo, a)
			w.rm(repo, a.Digest)
			return func() { w.must(w.fleet.DeleteSnapshot(w.t.Context(), id)) }
		}, all(a)},
		{"what a node runs", func(w *world) func() {
			w.push(repo, a, "1")
			w.report("node", a.Digest, digest.FromString("from elsewhere"), a.Layers[0])
			w.rm(repo, a.Digest)
			return func() { w.report("node") }
		}, all(a)},
		{"the index that a node runs", func(w *world) func() {
			w.push(repo, a)
			w.push(repo, b)
			w.push(repo, inner, "1")
			w.report("node", inner.Digest)
			w.rm(repo, inner.Digest)
			w.rm(repo, a.Digest)
			w.rm(repo, b.Digest)
			return func() { w.report("node") }
		}, all(a, b, inner)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, Options{})
			remove := c.make(w)
			w.put("elsewhere", "garbage", 100_000)
			w.cycles(12)
			if len(c.kept) == 0 {
				if left := w.keys(garbage...); len(left) > 0 {
					t.Errorf("left: %v", left)
				}
				return
			}
			w.want("live", c.kept...)
			w.readable(c.kept...)
			if n := len(w.keys("blobs/")); n != len(c.kept) {
				t.Errorf("%d blobs stay, not %d", n, len(c.kept))
			}
			if n := len(w.keys("data/")); n > 2 {
				t.Errorf("%d data objects stay", n)
			}
			remove()
			for range 45 {
				w.report("other") // time passes for the node that is silent
				w.cycle(24 * time.Hour)
			}
			left := w.keys("blobs/", "data/", "uploads/", "repos/", "snapshots/")
			if len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A node that has been silent for 30 days keeps nothing any more, and goes.
func TestWhatASilentNodeRanIsKeptFor30Days(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := image("a", 100)
	w.push(repo, a, "1")
	w.report("node", a.Digest)
	w.rm(repo, a.Digest)
	w.cycles(29)
	w.want("live", all(a)...)
	w.cycles(3)
	w.want("gone", all(a)...)
	if left := w.keys("nodes/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	w.report("node", a.Digest) // it is back
	if n, ok, err := w.fleet.Node(t.Context(), "node"); !ok || err != nil || len(n.Containers) != 1 {
		t.Errorf("%+v, %v, %v", n, ok, err)
	}
}

// What a node begins to run after its repository has dropped it was promised to
// nobody: it is taken back while that can be done.
func TestWhatANodeRunsIsRevived(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := image("a", 100_000)
	w.push(repo, a, "1")
	w.rm(repo, a.Digest)
	w.cycle(100 * time.Hour)
	w.want("condemned", all(a)...)
	w.report("node", a.Digest)
	dry, err := w.Run(t.Context(), RunOptions{DryRun: true})
	w.must(err)
	w.want("condemned", all(a)...)
	r := w.cycle(24 * time.Hour)
	if n := int64(len(all(a))); r.Revived != n || dry.Revived != n {
		t.Errorf("revived %d, not %d; the dry run said %d", r.Revived, n, dry.Revived)
	}
	w.cycles(10)
	w.want("live", all(a)...)
	w.readable(all(a)...)
}
