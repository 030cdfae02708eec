package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerArchiveFile writes what docker load reads: the config, and the layers
// uncompressed, in one tar, in place of what the file held before.
type dockerArchiveFile struct {
	loc  Location
	name string
	tar  *tarWriter

	mu     sync.Mutex
	config []byte                          // of the image, once it has arrived
	layers map[digest.Digest]digest.Digest // blob to diffID
	stored map[digest.Digest]bool          // diffIDs in the tar
}

func createDockerArchive(l Location, name string) (*dockerArchiveFile, error) {
	w, err := createTar(l.Path)
	if err != nil {
		return nil, at(l, err)
	}
	return &dockerArchiveFile{
		loc: l, name: name, tar: w,
		layers: map[digest.Digest]digest.Digest{}, stored: map[digest.Digest]bool{},
	}, nil
}

func (a *dockerArchiveFile) Missing(_ context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return blobs, nil
}

func (a *dockerArchiveFile) PutBlob(ctx context.Context, d ocispec.Descriptor, c Content) error {
	r, err := c.Open(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	if isConfig(d.MediaType) {
		return a.putConfig(d, r)
	}
	return a.putLayer(ctx, d, r)
}

func isConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == dockerConfig
}

func (a *dockerArchiveFile) putConfig(d ocispec.Descriptor, r io.Reader) error {
	if d.Size > maxDockerConfig {
		return at(a.loc, fail(ErrUnsupported, "the config has %d bytes, allowed are %d", d.Size, maxDockerConfig))
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = b
	return nil
}

// putLayer unpacks to a temporary file, since the size comes first in a tar.
func (a *dockerArchiveFile) putLayer(ctx context.Context, d ocispec.Descriptor, r io.Reader) error {
	in := bufio.NewReaderSize(&contextReader{ctx, r}, 1<<20)
	head, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	z, err := decompress(in, sniffBytes(head))
	if err != nil {
		return at(a.loc, fail(ErrDamaged, "layer %s cannot be unpacked: %v", d.Digest, err))
	}
	defer z.Close()
	tmp, err := tempFile()
	if err != nil {
		return err
	}
	defer tmp.Close()
	plain := digest.SHA256.Digester()
	n, err := io.CopyBuffer(io.MultiWriter(tmp, plain.Hash()), z, make([]byte, 256<<10))
	if err != nil {
		return at(a.loc, unpackError(d.Digest, err))
	}
	// To the end of the blob, so that all of it is checked.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return a.store(d.Digest, plain.Digest(), tmp, n)
}

func (a *dockerArchiveFile) store(blob, diffID digest.Digest, tmp *os.File, n int64) error {
	a.mu.Lock()
	a.layers[blob] = diffID
	there := a.stored[diffID]
	a.stored[diffID] = true
	a.mu.Unlock()
	if there {
		return nil
	}
	w, err := a.tar.add(layerName(diffID), n)
	if err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.CopyBuffer(w, io.LimitReader(tmp, n), make([]byte, 256<<10))
	return err
}

// unpackError leaves an error of the source as it is.
func unpackError(d digest.Digest, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return fmt.Errorf("unpack layer %s: %w", d, err)
}

func layerName(diffID digest.Digest) string { return diffID.Encoded() + ".tar" }

func (a *dockerArchiveFile) PutManifest(_ context.Context, d ocispec.Descriptor, _ []byte) error {
	return at(a.loc, fail(ErrUnsupported, "such an archive cannot hold an index (choose one image of it with --platform)"))
}

func (a *dockerArchiveFile) Finish(ctx context.Context, root ocispec.Descriptor, b []byte) error {
	m, err := parseManifest(root, b)
	if err != nil {
		return err
	}
	if isIndex(m.MediaType) {
		return a.PutManifest(ctx, root, b)
	}
	if a.config == nil || len(m.blobs()) != len(m.layers)+1 {
		return at(a.loc, fail(ErrUnsupported, "such an archive cannot hold what is no image of files: %s (use oci: or oci-archive:)", root.Digest))
	}
	diffIDs, err := configDiffIDs(a.config)
	if err != nil {
		return fmt.Errorf("config of %s: %w", root.Digest, err)
	}
	if len(diffIDs) != len(m.layers) {
		return fail(ErrDamaged, "%s has %d layers, and its config names %d", root.Digest, len(m.layers), len(diffIDs))
	}
	img := dockerImage{Config: m.config.Digest.Encoded() + ".json", Layers: []string{}}
	for i, l := range m.layers {
		got := a.layers[l.Digest]
		if got != diffIDs[i] {
			return fail(ErrDamaged, "layer %s has the diffID %s, and the config of %s says %s", l.Digest, got, root.Digest, diffIDs[i])
		}
		img.Layers = append(img.Layers, layerName(got))
	}
	if a.name != "" {
		img.RepoTags = []string{a.name}
	}
	index, err := json.Marshal([]dockerImage{img})
	if err == nil {
		err = a.tar.addBytes(img.Config, a.config)
	}
	if err == nil {
		err = a.tar.addBytes("manifest.json", index)
	}
	if err == nil {
		err = a.tar.finish()
	}
	if err != nil {
		return at(a.loc, err)
	}
	return nil
}

func (a *dockerArchiveFile) Close() error { return a.tar.close() }
