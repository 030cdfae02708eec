package schedule

import (
	"encoding/json"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// A blob of the library.
type libraryBlob struct {
	name   string
	digest digest.Digest
	bytes  []byte
}

// An image of the library: a manifest, or an index of others.
type libraryImage struct {
	name      string
	mediaType string
	digest    digest.Digest
	bytes     []byte
	blobs     []libraryBlob   // that it names
	children  []digest.Digest // manifests that it names
}

// What simulated clients push: blobs inside records and in data objects, and
// images that share them.
var (
	repositories = []reference.Repository{"a", "b"}
	tagNames     = []reference.Tag{"x", "y"}

	small1 = newBlob("small1", 40)
	small2 = newBlob("small2", 300)
	large1 = newBlob("large1", 64<<10+1)
	large2 = newBlob("large2", 65<<10)
	parts  = newBlob("parts", 256<<10+70<<10) // of two parts
	first  = newImage("first", small1, large1)
	second = newImage("second", small2, large1, large2)
	third  = newImage("third", small1, parts)
	alias  = newImage("alias", small1, large1) // what first names
	index  = newIndex("index", first, second)

	library = []libraryBlob{small1, small2, large1, large2, parts}
	shelf   = []libraryImage{first, second, third, index, alias}
)

func newBlob(name string, size int) libraryBlob {
	b := storetest.Bytes(size, name)
	return libraryBlob{name, digest.FromBytes(b), b}
}

func newImage(name string, config libraryBlob, layers ...libraryBlob) libraryImage {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config:      ocispec.Descriptor{MediaType: "application/x", Digest: config.digest, Size: int64(len(config.bytes))},
		Annotations: map[string]string{"name": name},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: "application/y", Digest: l.digest, Size: int64(len(l.bytes))})
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return libraryImage{name: name, mediaType: m.MediaType, digest: digest.FromBytes(b), bytes: b, blobs: append([]libraryBlob{config}, layers...)}
}

func newIndex(name string, of ...libraryImage) libraryImage {
	var ds []ocispec.Descriptor
	i := libraryImage{name: name, mediaType: ocispec.MediaTypeImageIndex}
	for _, m := range of {
		ds = append(ds, ocispec.Descriptor{MediaType: m.mediaType, Digest: m.digest, Size: int64(len(m.bytes))})
		i.children = append(i.children, m.digest)
	}
	s := storetest.Index(ds...)
	i.digest, i.bytes = s.Digest, s.Manifest
	return i
}

// image finds one by its digest.
func image(d digest.Digest) libraryImage {
	i := slices.IndexFunc(shelf, func(i libraryImage) bool { return i.digest == d })
	return shelf[i]
}

// closure is all that must be there while a manifest is.
func closure(d digest.Digest) []digest.Digest {
	i := image(d)
	ds := []digest.Digest{d}
	for _, b := range i.blobs {
		ds = append(ds, b.digest)
	}
	for _, c := range i.children {
		ds = append(ds, closure(c)...)
	}
	return ds
}

// nameOf is what the library calls a blob or a manifest.
func nameOf(d digest.Digest) string {
	for _, b := range library {
		if b.digest == d {
			return b.name
		}
	}
	for _, i := range shelf {
		if i.digest == d {
			return i.name
		}
	}
	return string(d)
}
