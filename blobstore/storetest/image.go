package storetest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// Tar returns a tar with a file of each name; what is in a file depends on its
// name and on n, how many bytes it has.
func Tar(n int, names ...string) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(n)}); err != nil {
			panic(err)
		}
		if _, err := w.Write(Bytes(n, name)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// Bytes returns n bytes that do not compress and depend on seed.
func Bytes(n int, seed string) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b
}

// Gzip compresses b.
func Gzip(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b)
	_ = w.Close()
	return buf.Bytes()
}

// Zstd compresses b.
func Zstd(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// An Image is one to be pushed: a manifest and the blobs that it names.
type Image struct {
	MediaType string
	Manifest  []byte
	Digest    digest.Digest
	Blobs     map[digest.Digest][]byte
	Layers    []digest.Digest
	DiffIDs   []digest.Digest
	Config    digest.Digest
}

// Descriptor is that of the image's manifest.
func (i Image) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: i.MediaType, Digest: i.Digest, Size: int64(len(i.Manifest))}
}

// A Build is what an image is made of. The zero Build is an image for
// linux/amd64 without layers.
type Build struct {
	Tars      [][]byte // of the layers, lowest first
	Platform  ocispec.Platform
	History   []ocispec.History
	Subject   *ocispec.Descriptor
	Change    func(*ocispec.Manifest, *ocispec.Image) // before they are written
	Annotated map[string]string
}

// Image builds the image.
func (b Build) Image() Image {
	i := Image{MediaType: ocispec.MediaTypeImageManifest, Blobs: map[digest.Digest][]byte{}}
	config := ocispec.Image{Platform: b.Platform, RootFS: ocispec.RootFS{Type: "layers"}, History: b.History}
	if config.OS == "" {
		config.Platform = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: i.MediaType, Layers: []ocispec.Descriptor{},
		Subject: b.Subject, Annotations: b.Annotated,
	}
	for _, tar := range b.Tars {
		d := i.add(Gzip(tar), ocispec.MediaTypeImageLayerGzip)
		m.Layers = append(m.Layers, d)
		i.Layers = append(i.Layers, d.Digest)
		i.DiffIDs = append(i.DiffIDs, digest.FromBytes(tar))
	}
	config.RootFS.DiffIDs = append([]digest.Digest{}, i.DiffIDs...)
	if b.Change != nil {
		b.Change(&m, &config)
	}
	c := i.add(marshal(config), ocispec.MediaTypeImageConfig)
	if m.Config.Digest == "" {
		m.Config = c
	}
	i.Config = m.Config.Digest
	i.Manifest = marshal(m)
	i.Digest = digest.FromBytes(i.Manifest)
	return i
}

func (i *Image) add(b []byte, mediaType string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	i.Blobs[d.Digest] = b
	return d
}

// Index returns an index of the images, each for its platform as the config has
// it, without their blobs.
func Index(manifests ...ocispec.Descriptor) Image {
	b := marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
	return Image{MediaType: ocispec.MediaTypeImageIndex, Manifest: b, Digest: digest.FromBytes(b)}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// PushBlobs stores what the image's manifest names in repo.
func PushBlobs(t testing.TB, s *blobstore.Store, repo reference.Repository, i Image) {
	t.Helper()
	for d, b := range i.Blobs {
		if _, err := s.Put(context.Background(), repo, d, int64(len(b)), bytes.NewReader(b)); err != nil {
			t.Fatalf("push blob %s: %v", d, err)
		}
	}
}
