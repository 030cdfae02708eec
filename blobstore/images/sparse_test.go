package images_test

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// without leaves blobs of an image out, so that they are not pushed with it.
func without(i storetest.Image, ds ...digest.Digest) storetest.Image {
	blobs := map[digest.Digest][]byte{}
	for d, b := range i.Blobs {
		blobs[d] = b
	}
	for _, d := range ds {
		delete(blobs, d)
	}
	i.Blobs = blobs
	return i
}

func TestASparseImageMayLackLayersOnly(t *testing.T) {
	strict, w := newServer(t)
	sparse := w.server(t, images.Options{AllowSparse: true})
	i := layered("a", 2)
	for name, part := range map[string]storetest.Image{"layer": without(i, i.Layers[0]), "config": without(i, i.Config)} {
		storetest.PushBlobs(t, sparse.store, reference.Repository("sparse/"+name), part)
	}
	if _, err := strict.put("sparse/layer", i, "1"); !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
		t.Errorf("where it is not allowed: %v", err)
	}
	if _, err := sparse.put("sparse/config", i, "1"); !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
		t.Errorf("without its config: %v", err)
	}
	if _, err := sparse.put("sparse/layer", i, "1"); err != nil {
		t.Fatalf("without a layer: %v", err)
	}
	s, err := strict.Summary(t.Context(), "sparse/layer", reference.Locator{Tag: "1"})
	if err != nil || !s.Sparse || s.Layers != 2 {
		t.Errorf("summary %+v, %v", s, err)
	}
	// What is not there can be pushed later.
	storetest.PushBlobs(t, sparse.store, "sparse/layer", i)
	img, err := sparse.Image(t.Context(), "sparse/layer", reference.Locator{Tag: "1"}, "")
	if err == nil {
		err = sparse.WaitLayers(t.Context(), "sparse/layer", &img)
	}
	if err != nil || img.Layers[0].State != layers.Plain || img.Layers[1].State != layers.Plain {
		t.Errorf("%+v, %v", img.Layers, err)
	}
}

// What a sparse manifest names it does not open: another repository's layers and
// images stay unknown to those who only know their digests, also through an
// index around it.
func TestASparseManifestOpensNothing(t *testing.T) {
	_, w := newServer(t)
	s := w.server(t, images.Options{AllowSparse: true})
	const theirs, ours = reference.Repository("theirs"), reference.Repository("ours")
	secret := layered("secret", 2)
	s.push(t, theirs, secret, "1")

	// An image that names their layers.
	storetest.PushBlobs(t, s.store, ours, without(secret, secret.Layers...))
	if _, err := s.put(ours, secret, "image"); err != nil {
		t.Fatal(err)
	}
	img, err := s.Image(t.Context(), ours, reference.Locator{Tag: "image"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range img.Layers {
		if l.State != layers.Invalid {
			t.Errorf("layer %s is %v", l.Blob.Digest, l.State)
		}
	}

	// An index that names their image; one with a platform, and one without,
	// which would be looked into.
	other := layered("other", 2)
	s.push(t, theirs, other, "2")
	plain := other.Descriptor()
	plain.Platform = nil
	placed := plain
	placed.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	for name, d := range map[string]ocispec.Descriptor{"placed": placed, "plain": plain} {
		index := storetest.Index(d)
		s.push(t, ours, index, reference.Tag(name))
		around := storetest.Index(index.Descriptor())
		s.push(t, ours, around, reference.Tag("around-"+name))
		for _, tag := range []reference.Tag{reference.Tag(name), reference.Tag("around-" + name)} {
			img, err := s.Image(t.Context(), ours, reference.Locator{Tag: tag}, "linux/amd64")
			if !errors.Is(err, blobstore.ErrManifestUnknown) {
				t.Errorf("%s: %+v, %v", tag, img.Config, err)
			}
			if sum, err := s.Summary(t.Context(), ours, reference.Locator{Tag: tag}); err != nil || !sum.Sparse || sum.Layers != 0 {
				t.Errorf("%s: summary %+v, %v", tag, sum, err)
			}
		}
	}

	// Once it is in the repository it is found.
	s.push(t, ours, other)
	if _, err := s.Image(t.Context(), ours, reference.Locator{Tag: "around-placed"}, "linux/amd64"); err != nil {
		t.Error(err)
	}
}
