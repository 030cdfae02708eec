package images_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

func TestWhatWasPushedComesBack(t *testing.T) {
	s, w := newServer(t)
	i := layered("x", 2)
	s.push(t, repo, i, "1", "latest")
	for _, srv := range []*server{s, w.server(t, images.Options{})} {
		for _, l := range []reference.Locator{{Tag: "1"}, {Tag: "latest"}, {Digest: i.Digest}, {Tag: "none", Digest: i.Digest}} {
			m, err := srv.Get(t.Context(), repo, l)
			if err != nil || !bytes.Equal(m.Bytes, i.Manifest) || m.MediaType != i.MediaType || m.Digest != i.Digest || m.Size != int64(len(i.Manifest)) {
				t.Errorf("get %s: %+v, %v", l, m.Descriptor, err)
			}
			d, err := srv.Resolve(t.Context(), repo, l)
			if err != nil || d != m.Descriptor {
				t.Errorf("resolve %s: %+v, %v", l, d, err)
			}
		}
		for _, l := range []reference.Locator{{Tag: "2"}, {Digest: digest.FromString("none")}} {
			if _, err := srv.Get(t.Context(), repo, l); !errors.Is(err, blobstore.ErrManifestUnknown) {
				t.Errorf("get %s: %v", l, err)
			}
			if _, err := srv.Get(t.Context(), other, l); !errors.Is(err, blobstore.ErrManifestUnknown) {
				t.Errorf("get %s of another repository: %v", l, err)
			}
		}
		if _, err := srv.Get(t.Context(), other, reference.Locator{Digest: i.Digest}); !errors.Is(err, blobstore.ErrManifestUnknown) {
			t.Errorf("through a repository that does not have it: %v", err)
		}
	}
}

func TestDigestOfTheCallersAlgorithm(t *testing.T) {
	s, _ := newServer(t)
	i := layered("x", 1)
	storetest.PushBlobs(t, s.store, repo, i)
	d := digest.SHA512.FromBytes(i.Manifest)
	m, err := s.Put(t.Context(), repo, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest, Digest: d, Tags: []reference.Tag{"1"}})
	if err != nil || m.Digest != d || s.names(t, repo, "1") != d {
		t.Fatalf("put: %+v, %v", m.Descriptor, err)
	}
	if s.has(t, repo, i.Digest) {
		t.Error("it is there by a digest that nobody gave")
	}
}

// Rule of the domain: an image pushed twice is stored once.
func TestImagePushedTwiceIsStoredOnce(t *testing.T) {
	s, w := newServer(t)
	i := layered("x", 3)
	s.push(t, repo, i, "1")
	size := w.stored(t)
	s.push(t, repo, i, "1")
	s.push(t, other, i, "1")
	if again := w.stored(t); !maps.Equal(size, again) {
		t.Errorf("stored: %v, and after two more pushes %v", size, again)
	}
}

// stored lists the records of blobs and the data, with their sizes.
func (w *world) stored(t *testing.T) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	for _, prefix := range []string{"blobs/", "data/"} {
		for info, err := range w.bucket.List(t.Context(), prefix, "") {
			if err != nil {
				t.Fatal(err)
			}
			got[info.Key] = info.Size
		}
	}
	return got
}

func TestManifestThatNamesWhatIsNotThere(t *testing.T) {
	s, w := newServer(t)
	i := layered("x", 3)
	for d, b := range i.Blobs {
		if d != i.Layers[1] && d != i.Config {
			if _, err := s.store.Put(t.Context(), repo, d, int64(len(b)), bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What another repository holds does not count.
	b := i.Blobs[i.Layers[1]]
	if _, err := s.store.Put(t.Context(), other, i.Layers[1], int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	_, err := s.put(repo, i, "1")
	e, ok := errors.AsType[*blobstore.Error](err)
	if !ok || !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
		t.Fatalf("put: %v", err)
	}
	want := []string{string(i.Layers[1]), string(i.Config)}
	slices.Sort(want)
	if e.Facts["missing"] != strings.Join(want, " ") || e.Remedy == "" {
		t.Errorf("error %+v", e)
	}
	if s.has(t, repo, i.Digest) || s.names(t, repo, "1") != "" {
		t.Error("it was stored all the same")
	}
	w.bucket.Reset()
	s.push(t, repo, i, "1")
	if s.names(t, repo, "1") != i.Digest {
		t.Error("it is not stored once all is there")
	}
}

func TestSizesMustBeThoseOfTheBlobs(t *testing.T) {
	for name, change := range map[string]func(*ocispec.Manifest){
		"layer":  func(m *ocispec.Manifest) { m.Layers[1].Size++ },
		"config": func(m *ocispec.Manifest) { m.Config.Size-- },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t)
			c := storetest.Build{}.Image()
			config := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: c.Config, Size: int64(len(c.Blobs[c.Config]))}
			i := storetest.Build{Tars: [][]byte{storetest.Tar(1, "a"), storetest.Tar(2, "b")}, Change: func(m *ocispec.Manifest, _ *ocispec.Image) {
				m.Config = config
				change(m)
			}}.Image()
			i.Blobs[c.Config] = c.Blobs[c.Config]
			storetest.PushBlobs(t, s.store, repo, i)
			_, err := s.put(repo, i, "1")
			if !errors.Is(err, blobstore.ErrManifestInvalid) || !strings.Contains(err.Error(), name+" sha256:") {
				t.Errorf("put: %v", err)
			}
			if s.has(t, repo, i.Digest) {
				t.Error("it was stored")
			}
		})
	}
}

func TestWhatOthersKeepNeedNotBeThere(t *testing.T) {
	foreign := func(urls ...string) storetest.Image {
		return storetest.Build{Tars: [][]byte{storetest.Tar(1, "a")}, Change: func(m *ocispec.Manifest, c *ocispec.Image) {
			m.Layers = append(m.Layers, ocispec.Descriptor{
				MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
				Digest:    digest.FromString("elsewhere"), Size: 1234, URLs: urls,
			})
			c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString("its tar"))
		}}.Image()
	}
	s, _ := newServer(t)
	s.push(t, repo, foreign("https://elsewhere.example/layer"), "1")
	i := foreign()
	storetest.PushBlobs(t, s.store, repo, i)
	if _, err := s.put(repo, i, "2"); !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
		t.Errorf("without a URL: %v", err)
	}
}

func TestIndexNeedsItsManifests(t *testing.T) {
	s, w := newServer(t)
	a, b := layered("a", 1), layered("b", 2)
	s.push(t, repo, a)
	index := storetest.Index(a.Descriptor(), b.Descriptor())
	_, err := s.put(repo, index, "1")
	if e, ok := errors.AsType[*blobstore.Error](err); !ok || !errors.Is(err, blobstore.ErrManifestBlobUnknown) || e.Facts["missing"] != string(b.Digest) {
		t.Fatalf("put: %v", err)
	}
	sparse := w.server(t, images.Options{AllowSparse: true})
	if _, err := sparse.put(repo, index, "1"); err != nil {
		t.Errorf("where sparse ones are allowed: %v", err)
	}
	s.push(t, repo, b)
	nested := storetest.Index(index.Descriptor(), a.Descriptor())
	s.push(t, repo, nested, "2")
	sum, err := s.Summary(t.Context(), repo, reference.Locator{Tag: "2"})
	if err != nil || sum.Layers != 3 || sum.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("summary %+v, %v", sum, err)
	}
	wrong := b.Descriptor()
	wrong.Size++
	if _, err := s.put(repo, storetest.Index(wrong)); !errors.Is(err, blobstore.ErrManifestInvalid) {
		t.Errorf("manifest of another size: %v", err)
	}
}

// A blob that an index names only through a manifest is promised too: that
// manifest's own link may be gone the next moment.
func TestIndexPromisesWhatItsManifestsName(t *testing.T) {
	s, w := newServer(t)
	a := layered("a", 1)
	s.push(t, repo, a)
	for _, d := range []digest.Digest{a.Layers[0], a.Config} {
		fresh := w.server(t, images.Options{})
		w.collect(t, d)
		_, err := fresh.put(repo, storetest.Index(a.Descriptor()), "1")
		if e, ok := errors.AsType[*blobstore.Error](err); !ok || !errors.Is(err, blobstore.ErrManifestBlobUnknown) || !strings.Contains(e.Facts["missing"], string(d)) {
			t.Errorf("without %s: %v", d, err)
		}
	}
}

func TestSummary(t *testing.T) {
	s, w := newServer(t)
	i := storetest.Build{
		Tars: [][]byte{storetest.Tar(10, "a"), storetest.Tar(20, "b")}, Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"},
		Change: func(_ *ocispec.Manifest, c *ocispec.Image) {
			at := w.clock.Now().Add(-3600e9)
			c.Created = &at
		},
	}.Image()
	s.push(t, repo, i, "1")
	sum, err := s.Summary(t.Context(), repo, reference.Locator{Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(i.Blobs[i.Layers[0]]) + len(i.Blobs[i.Layers[1]]))
	if sum.Layers != 2 || sum.LayersSize != size || fmt.Sprint(sum.Platforms) != "[linux/arm64]" ||
		!sum.Created.Equal(w.clock.Now().Add(-3600e9)) || !sum.Pushed.Equal(w.clock.Now()) {
		t.Errorf("summary %+v", sum)
	}
	d := i.Descriptor()
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	attest := layered("att", 1)
	s.push(t, repo, attest)
	a := attest.Descriptor()
	a.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	s.push(t, repo, storetest.Index(d, a), "2")
	if sum, err = s.Summary(t.Context(), repo, reference.Locator{Tag: "2"}); err != nil || fmt.Sprint(sum.Platforms) != "[linux/arm64]" || sum.Layers != 3 {
		t.Errorf("summary of the index %+v, %v", sum, err)
	}
}

func TestArtifactsOfAnyKind(t *testing.T) {
	s, _ := newServer(t)
	i := storetest.Build{Tars: [][]byte{[]byte("no tar at all")}, Change: func(m *ocispec.Manifest, c *ocispec.Image) {
		m.ArtifactType = "application/vnd.example.thing"
		m.Layers[0].MediaType = "application/vnd.example.data"
		m.Config = ocispec.DescriptorEmptyJSON
	}}.Image()
	i.Blobs[ocispec.DescriptorEmptyJSON.Digest] = ocispec.DescriptorEmptyJSON.Data
	m := s.push(t, repo, i, "1")
	if m.ArtifactType != "application/vnd.example.thing" {
		t.Errorf("put: %+v", m)
	}
	img, err := s.Image(t.Context(), repo, reference.Locator{Tag: "1"}, "")
	if err != nil || img.OCI != nil || len(img.Layers) != 1 || img.Layers[0].State.String() != "opaque" || string(img.ConfigBytes) != "{}" {
		t.Errorf("image %+v, %v", img, err)
	}
}
