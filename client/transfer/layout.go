package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// maxIndex is the largest index.json in bytes.
const maxIndex = 16 << 20

// containerd and docker write the whole name of an image here.
const containerdName = "io.containerd.image.name"

// layout reads an OCI image layout, in a folder or in a tar.
type layout struct {
	loc   Location
	files files
	root  ocispec.Descriptor
}

func openLayout(l Location, f files) (*layout, error) {
	s := &layout{loc: l, files: f}
	if err := checkLayoutFile(f); err != nil {
		return nil, at(l, err)
	}
	entries, err := readIndex(f)
	if err == nil {
		s.root, err = chooseEntry(entries, l)
	}
	if err != nil {
		return nil, at(l, err)
	}
	return s, nil
}

func checkLayoutFile(f files) error {
	b, err := readSmall(f, ocispec.ImageLayoutFile, 4096)
	if notExist(err) {
		return fail(ErrNotFound, "it is no OCI layout: it has no file %s", ocispec.ImageLayoutFile)
	}
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := json.Unmarshal(b, &v); err != nil {
		return fail(ErrDamaged, "%s is no JSON: %v", ocispec.ImageLayoutFile, err)
	}
	if v.Version != ocispec.ImageLayoutVersion {
		return fail(ErrUnsupported, "it is an OCI layout of version %.20q, known is %s", v.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

// readIndex returns the entries of index.json. Errors: ErrNotFound, ErrDamaged.
func readIndex(f files) ([]ocispec.Descriptor, error) {
	b, err := readSmall(f, ocispec.ImageIndexFile, maxIndex)
	if notExist(err) {
		return nil, fail(ErrNotFound, "it has no file %s: nothing was written to it, or not to the end", ocispec.ImageIndexFile)
	}
	if err != nil {
		return nil, err
	}
	var index struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fail(ErrDamaged, "%s is no JSON: %v", ocispec.ImageIndexFile, err)
	}
	for _, d := range index.Manifests {
		if _, err := reference.ParseDigest(string(d.Digest)); err != nil {
			return nil, fail(ErrDamaged, "%s: %w", ocispec.ImageIndexFile, err)
		}
	}
	return index.Manifests, nil
}

// chooseEntry finds the image that l names, or the only one.
func chooseEntry(entries []ocispec.Descriptor, l Location) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	for _, d := range entries {
		if l.Name == "" || slices.Contains(entryNames(d), l.Name) || string(d.Digest) == l.Name {
			found = append(found, d)
		}
	}
	found = unique(found)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(entries) == 0:
		return ocispec.Descriptor{}, fail(ErrNotFound, "it has no image")
	case len(found) == 0:
		return ocispec.Descriptor{}, fail(ErrNotFound, "it has no image %q (it has %s)", l.Name, listEntries(entries))
	}
	example := Location{Kind: l.Kind, Path: l.Path, Name: string(found[0].Digest)}
	if names := entryNames(found[0]); l.Name == "" && len(names) > 0 {
		example.Name = names[0]
	}
	return ocispec.Descriptor{}, fail(ErrAmbiguous, "it has %s (say which, as in %s)", listEntries(found), example)
}

func entryNames(d ocispec.Descriptor) []string {
	var names []string
	for _, key := range []string{ocispec.AnnotationRefName, containerdName} {
		if n := d.Annotations[key]; n != "" {
			names = append(names, n)
		}
	}
	return names
}

func listEntries(entries []ocispec.Descriptor) string {
	var names []string
	for _, d := range entries {
		name := string(d.Digest)
		if n := entryNames(d); len(n) > 0 {
			name = n[0]
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return listOf(names)
}

// listOf is a list for people, of which they want to see the first ten.
func listOf(names []string) string {
	if n := len(names) - 10; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:10], ", "), n)
	}
	return strings.Join(names, ", ")
}

func blobName(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (s *layout) Root(context.Context) (ocispec.Descriptor, error) { return s.root, nil }

func (s *layout) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	b, err := readSmall(s.files, blobName(d.Digest), MaxManifest)
	if err != nil {
		return nil, s.blobError(d, err)
	}
	return b, nil
}

func (s *layout) Open(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := s.files.open(blobName(d.Digest))
	if err != nil {
		return nil, s.blobError(d, err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, s.blobError(d, err)
	}
	return f, nil
}

func (s *layout) blobError(d ocispec.Descriptor, err error) error {
	if notExist(err) {
		return at(s.loc, fail(ErrNotFound, "it names %s and does not have it", d.Digest))
	}
	return at(s.loc, err)
}

func (s *layout) Close() error   { return s.files.Close() }
func (s *layout) String() string { return s.loc.String() }
