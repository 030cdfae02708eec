// Package imagetest makes small images for tests, as folders in the OCI image
// layout. The same arguments make the same bytes.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Blobs are the blobs and manifests of images, which Layout writes out.
type Blobs map[digest.Digest][]byte

// Add adds a blob.
func (b Blobs) Add(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	b[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// AddJSON adds v as JSON.
func (b Blobs) AddJSON(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b.Add(mediaType, data)
}

// TarOf is a layer with one file of size bytes that gzip cannot shrink.
func TarOf(seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(data)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file-%d", seed), Mode: 0o644, Size: int64(size), ModTime: time.Unix(1, 0)})
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

// Gzipped is b as a gzip stream. It is stored in it as it is: what a compressor
// makes of it would change with the version of Go.
func Gzipped(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.NoCompression)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// Image adds an image with layers of these sizes.
func (b Blobs) Image(arch string, seed uint64, sizes ...int) ocispec.Descriptor {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, size := range sizes {
		t := TarOf(seed+uint64(i), size)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(t))
		config.History = append(config.History, ocispec.History{CreatedBy: fmt.Sprintf("ADD %d", i)})
		m.Layers = append(m.Layers, b.Add(ocispec.MediaTypeImageLayerGzip, Gzipped(t)))
	}
	m.Config = b.AddJSON(ocispec.MediaTypeImageConfig, config)
	d := b.AddJSON(ocispec.MediaTypeImageManifest, m)
	d.Platform = &config.Platform
	return d
}

// Index adds an index of two platforms with an attestation, and a layer that
// both images have.
func (b Blobs) Index() ocispec.Descriptor {
	amd := b.Image("amd64", 1, 1000, 70_000, 200_000)
	arm := b.Image("arm64", 1, 1000, 80_000)
	statement := b.Add("application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))
	att := b.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: b.AddJSON(ocispec.MediaTypeImageConfig, map[string]any{"architecture": "unknown", "os": "unknown"}),
		Layers: []ocispec.Descriptor{statement},
	})
	att.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	return b.AddJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{amd, arm, att},
	})
}

// Layout writes the blobs into a folder, with these entries in index.json.
func (b Blobs) Layout(t testing.TB, entries ...ocispec.Descriptor) string {
	t.Helper()
	dir := t.TempDir()
	Put(t, dir, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	for d, data := range b {
		Put(t, dir, "blobs/"+d.Algorithm().String()+"/"+d.Encoded(), data)
	}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	if err != nil {
		t.Fatal(err)
	}
	Put(t, dir, "index.json", index)
	return dir
}

// Put writes a file and the folders it is in.
func Put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Named is an entry of index.json that has a name.
func Named(d ocispec.Descriptor, name string) ocispec.Descriptor {
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	return d
}

// Layers are those that a manifest names.
func (b Blobs) Layers(manifest ocispec.Descriptor) []ocispec.Descriptor {
	var m ocispec.Manifest
	if err := json.Unmarshal(b[manifest.Digest], &m); err != nil {
		panic(err)
	}
	return m.Layers
}
