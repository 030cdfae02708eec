package transfer

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

// A store of blobs that a test makes, written out as a layout.
type blobs map[digest.Digest][]byte

func (b blobs) add(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	b[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (b blobs) addJSON(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b.add(mediaType, data)
}

// tarOf is a layer with one file of size bytes that gzip cannot shrink.
func tarOf(seed uint64, size int) []byte {
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

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// image adds an image with layers of these sizes.
func (b blobs) image(arch string, seed uint64, sizes ...int) ocispec.Descriptor {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, size := range sizes {
		t := tarOf(seed+uint64(i), size)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(t))
		config.History = append(config.History, ocispec.History{CreatedBy: fmt.Sprintf("ADD %d", i)})
		m.Layers = append(m.Layers, b.add(ocispec.MediaTypeImageLayerGzip, gzipped(t)))
	}
	m.Config = b.addJSON(ocispec.MediaTypeImageConfig, config)
	d := b.addJSON(ocispec.MediaTypeImageManifest, m)
	d.Platform = &config.Platform
	return d
}

// index adds an index of two platforms with an attestation, and a layer that
// both images have.
func (b blobs) index() ocispec.Descriptor {
	amd := b.image("amd64", 1, 1000, 70_000, 200_000)
	arm := b.image("arm64", 1, 1000, 80_000)
	statement := b.add("application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))
	att := b.addJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: b.addJSON(ocispec.MediaTypeImageConfig, map[string]any{"architecture": "unknown", "os": "unknown"}),
		Layers: []ocispec.Descriptor{statement},
	})
	att.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	return b.addJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{amd, arm, att},
	})
}

// layout writes the blobs into a folder, with these entries in index.json.
func (b blobs) layout(t testing.TB, entries ...ocispec.Descriptor) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "oci-layout", []byte(layoutFileBytes))
	for d, data := range b {
		put(t, dir, blobName(d), data)
	}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "index.json", index)
	return dir
}

func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func named(d ocispec.Descriptor, name string) ocispec.Descriptor {
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	return d
}

// tarDir packs a folder as `tar -C dir -cf name .` would.
func tarDir(t testing.TB, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive.tar")
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustParse(t testing.TB, s string) Location {
	t.Helper()
	l, err := ParseLocation(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// copyImage copies between places written as on the command line.
func copyImage(t testing.TB, src, dst string, o Options) (Result, error) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, mustParse(t, src), OpenOptions{Copy: o})
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	d, err := Create(ctx, mustParse(t, dst), OpenOptions{})
	if err != nil {
		return Result{}, err
	}
	defer d.Close()
	return Copy(ctx, d, s, o)
}

func mustCopy(t testing.TB, src, dst string, o Options) Result {
	t.Helper()
	r, err := copyImage(t, src, dst, o)
	if err != nil {
		t.Fatalf("%s → %s: %v", src, dst, err)
	}
	return r
}
