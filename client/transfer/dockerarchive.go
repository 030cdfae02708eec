package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of what docker save writes about its images.
const (
	maxDockerIndex  = 4 << 20 // bytes of manifest.json
	maxDockerConfig = 4 << 20
	maxDockerLayers = 1000
)

// A dockerImage is an entry of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerArchive reads an image that docker save wrote. Its layers are compressed
// when it is opened, since their digests must be known before anything is asked
// or sent.
type dockerArchive struct {
	loc      Location
	tar      *tarFiles
	root     ocispec.Descriptor
	manifest []byte
	config   []byte
	blobs    map[digest.Digest]*packedLayer
}

func openDockerArchive(ctx context.Context, l Location, o Options) (*dockerArchive, error) {
	t, err := openTar(l.Path)
	if err != nil {
		return nil, at(l, err)
	}
	a := &dockerArchive{loc: l, tar: t, blobs: map[digest.Digest]*packedLayer{}}
	if err := a.read(ctx, o); err != nil {
		a.Close()
		return nil, at(l, err)
	}
	return a, nil
}

func (a *dockerArchive) read(ctx context.Context, o Options) error {
	b, err := readSmall(a.tar, "manifest.json", maxDockerIndex)
	if notExist(err) {
		if _, ok := a.tar.entries[ocispec.ImageLayoutFile]; ok {
			return fail(ErrNotFound, "it has no manifest.json, but is an OCI layout (use oci-archive:%s)", a.loc.Path)
		}
		return fail(ErrNotFound, "it has no manifest.json, so docker save did not write it")
	}
	if err != nil {
		return err
	}
	images, err := parseDockerIndex(b)
	if err != nil {
		return err
	}
	img, err := chooseDockerImage(images, a.loc)
	if err != nil {
		return err
	}
	if a.config, err = readSmall(a.tar, path.Clean(img.Config), maxDockerConfig); err != nil {
		return inArchive(img.Config, err)
	}
	diffIDs, err := configDiffIDs(a.config)
	if err != nil {
		return fmt.Errorf("config %s: %w", img.Config, err)
	}
	if len(diffIDs) != len(img.Layers) {
		return fail(ErrDamaged, "it has %d layers, and its config names %d", len(img.Layers), len(diffIDs))
	}
	layers, err := packLayers(ctx, a.tar, img.Layers, diffIDs, o)
	if err != nil {
		return err
	}
	for _, l := range layers {
		a.blobs[l.desc.Digest] = l
	}
	return a.makeManifest(layers)
}

// parseDockerIndex reads manifest.json. Errors: ErrDamaged.
func parseDockerIndex(b []byte) ([]dockerImage, error) {
	var images []dockerImage
	if err := json.Unmarshal(b, &images); err != nil {
		return nil, fail(ErrDamaged, "manifest.json: %v", err)
	}
	for i, img := range images {
		if img.Config == "" {
			return nil, fail(ErrDamaged, "image %d in manifest.json has no config", i+1)
		}
		if len(img.Layers) > maxDockerLayers {
			return nil, fail(ErrUnsupported, "image %d in manifest.json has %d layers, allowed are %d", i+1, len(img.Layers), maxDockerLayers)
		}
	}
	return images, nil
}

func chooseDockerImage(images []dockerImage, l Location) (dockerImage, error) {
	var names []string
	var found []dockerImage
	for _, img := range images {
		names = append(names, img.RepoTags...)
		if len(img.RepoTags) == 0 {
			names = append(names, "one without a name")
		}
		if l.Name == "" || slices.ContainsFunc(img.RepoTags, func(n string) bool { return familiar(n) == familiar(l.Name) }) {
			found = append(found, img)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(images) == 0:
		return dockerImage{}, fail(ErrNotFound, "it has no image")
	case len(found) == 0:
		return dockerImage{}, fail(ErrNotFound, "it has no image %q (it has %s)", l.Name, listOf(names))
	}
	return dockerImage{}, fail(ErrAmbiguous, "it has %s (say which, as in %s:%s:NAME)", listOf(names), l.Kind, l.Path)
}

// familiar makes one of the several ways to write a name in Docker's world.
func familiar(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	if !strings.Contains(path.Base(name), ":") {
		name += ":latest"
	}
	return name
}

// configDiffIDs reads the digests of the uncompressed layers out of an image's
// config. Errors: ErrDamaged.
func configDiffIDs(config []byte) ([]digest.Digest, error) {
	var c struct {
		RootFS ocispec.RootFS `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fail(ErrDamaged, "%v", err)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fail(ErrDamaged, "diffID %.100q: %v", d, err)
		}
	}
	return c.RootFS.DiffIDs, nil
}

// makeManifest writes the manifest that the archive does not have: Docker's, as
// the config is.
func (a *dockerArchive) makeManifest(layers []*packedLayer) error {
	m := struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Config        ocispec.Descriptor   `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
	}{2, dockerManifest, ocispec.Descriptor{
		MediaType: dockerConfig, Digest: digest.FromBytes(a.config), Size: int64(len(a.config)),
	}, []ocispec.Descriptor{}}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.desc)
	}
	b, err := json.MarshalIndent(m, "", "   ")
	if err != nil {
		return err
	}
	a.manifest = b
	a.root = ocispec.Descriptor{MediaType: dockerManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return nil
}

func (a *dockerArchive) Root(context.Context) (ocispec.Descriptor, error) { return a.root, nil }

func (a *dockerArchive) Manifest(context.Context, ocispec.Descriptor) ([]byte, error) {
	return a.manifest, nil
}

func (a *dockerArchive) Open(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	if l := a.blobs[d.Digest]; l != nil {
		return l.open(offset), nil
	}
	return io.NopCloser(bytes.NewReader(a.config[min(offset, int64(len(a.config))):])), nil
}

func (a *dockerArchive) Close() error {
	var errs []error
	for _, l := range a.blobs {
		errs = append(errs, l.close())
	}
	return errors.Join(append(errs, a.tar.Close())...)
}

func (a *dockerArchive) String() string { return a.loc.String() }

// inArchive says which file of an archive an error is about.
func inArchive(name string, err error) error {
	if notExist(err) {
		return fail(ErrDamaged, "its manifest.json names %s, which is not in it", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}
