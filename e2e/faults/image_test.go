package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/internal/imagetest"
)

// A layer is what images are made of here, with what it is named by.
type layer struct {
	data   []byte
	diffID digest.Digest
}

// layersOf makes layers of these sizes; the same arguments, the same bytes.
func layersOf(seed uint64, sizes ...int) []layer {
	var made []layer
	for i, size := range sizes {
		tar := imagetest.TarOf(seed+uint64(i), size)
		made = append(made, layer{imagetest.Gzipped(tar), digest.FromBytes(tar)})
	}
	return made
}

// An image is in memory, with all its bytes: a transfer.Source.
type image struct {
	blobs imagetest.Blobs
	root  ocispec.Descriptor
}

// newImage makes an image of layers; two with different names have different
// configs and manifests.
func newImage(name string, of ...layer) *image {
	i := &image{blobs: imagetest.Blobs{}}
	config := ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Author: name, RootFS: ocispec.RootFS{Type: "layers"},
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range of {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		m.Layers = append(m.Layers, i.blobs.Add(ocispec.MediaTypeImageLayerGzip, l.data))
	}
	m.Config = i.blobs.AddJSON(ocispec.MediaTypeImageConfig, config)
	i.root = i.blobs.AddJSON(ocispec.MediaTypeImageManifest, m)
	return i
}

// layout writes the image to a folder, for programs.
func (i *image) layout(t testing.TB) string {
	t.Helper()
	return i.blobs.Layout(t, i.root)
}

func (i *image) Root(context.Context) (ocispec.Descriptor, error) { return i.root, nil }

func (i *image) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	return i.blobs[d.Digest], nil
}

func (i *image) Open(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(i.blobs[d.Digest][offset:])), nil
}

func (i *image) Close() error   { return nil }
func (i *image) String() string { return "image in memory" }

// An arrival is where an image is pulled to that must be the one that is known.
type arrival struct{ want *image }

func (a arrival) Missing(_ context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return blobs, nil
}

func (a arrival) PutBlob(ctx context.Context, d ocispec.Descriptor, c transfer.Content) error {
	r, err := c.Open(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return a.same(d, b)
}

func (a arrival) PutManifest(_ context.Context, d ocispec.Descriptor, b []byte) error {
	return a.same(d, b)
}

func (a arrival) Finish(_ context.Context, root ocispec.Descriptor, b []byte) error {
	if root.Digest != a.want.root.Digest {
		return wrongBytes{fmt.Sprintf("the image is %s, not %s", root.Digest, a.want.root.Digest)}
	}
	return a.same(root, b)
}

func (a arrival) same(d ocispec.Descriptor, b []byte) error {
	if !bytes.Equal(b, a.want.blobs[d.Digest]) {
		return wrongBytes{fmt.Sprintf("%d wrong bytes for %s", len(b), d.Digest)}
	}
	return nil
}

func (a arrival) Close() error { return nil }

// wrongBytes is the error that must never be.
type wrongBytes struct{ what string }

func (e wrongBytes) Error() string { return e.what }
