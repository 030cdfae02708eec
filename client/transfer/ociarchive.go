package transfer

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ociArchive writes an OCI layout into one tar file, in place of what the file
// held before.
type ociArchive struct {
	loc  Location
	name string
	tar  *tarWriter
	room map[digest.Digest]*io.OffsetWriter

	mu        sync.Mutex
	manifests map[digest.Digest][]byte
}

func createOCIArchive(l Location, name string) (*ociArchive, error) {
	w, err := createTar(l.Path)
	if err != nil {
		return nil, at(l, err)
	}
	a := &ociArchive{
		loc: l, name: name, tar: w,
		room: map[digest.Digest]*io.OffsetWriter{}, manifests: map[digest.Digest][]byte{},
	}
	if err := w.addBytes(ocispec.ImageLayoutFile, []byte(layoutFileBytes)); err != nil {
		w.close()
		return nil, at(l, err)
	}
	return a, nil
}

// Missing makes room for all blobs, so that their order in the archive does not
// depend on which arrives first. So do the manifests wait until the end.
func (a *ociArchive) Missing(_ context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	for _, d := range blobs {
		w, err := a.tar.add(blobName(d.Digest), d.Size)
		if err != nil {
			return nil, at(a.loc, err)
		}
		a.room[d.Digest] = w
	}
	return blobs, nil
}

func (a *ociArchive) PutBlob(ctx context.Context, d ocispec.Descriptor, c Content) error {
	r, err := c.Open(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = copyContext(ctx, a.room[d.Digest], r)
	return err
}

func (a *ociArchive) PutManifest(_ context.Context, d ocispec.Descriptor, b []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.manifests[d.Digest] = b
	return nil
}

func (a *ociArchive) Finish(_ context.Context, root ocispec.Descriptor, b []byte) error {
	a.manifests[root.Digest] = b
	err := a.finish(root)
	if err != nil {
		return at(a.loc, err)
	}
	return nil
}

func (a *ociArchive) finish(root ocispec.Descriptor) error {
	for _, d := range slices.Sorted(maps.Keys(a.manifests)) {
		if err := a.tar.addBytes(blobName(d), a.manifests[d]); err != nil {
			return err
		}
	}
	index, err := addEntry(nil, root, a.name)
	if err != nil {
		return err
	}
	if err := a.tar.addBytes(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	return a.tar.finish()
}

func (a *ociArchive) Close() error { return a.tar.close() }
