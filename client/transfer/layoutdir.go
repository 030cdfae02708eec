package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const layoutFileBytes = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`

// layoutDir writes into an OCI layout in a folder, beside what is there already.
// Blobs that have arrived whole stay when the image does not come to its end, so
// that the next try finds them; index.json is replaced last and at once.
type layoutDir struct {
	loc  Location
	name string // for the annotation
}

// createLayoutDir makes the folder if there is none. Errors: ErrUnsupported for
// a folder that holds something else.
func createLayoutDir(l Location, name string) (*layoutDir, error) {
	if err := os.MkdirAll(l.Path, 0o755); err != nil {
		return nil, at(l, err)
	}
	unlock, err := lockDir(l.Path)
	if err != nil {
		return nil, at(l, err)
	}
	defer unlock()
	err = checkLayoutFile(folder(l.Path))
	if err != nil && exists(filepath.Join(l.Path, ocispec.ImageLayoutFile)) {
		return nil, at(l, err)
	}
	if err != nil {
		there, err := os.ReadDir(l.Path)
		if err != nil {
			return nil, at(l, err)
		}
		if len(there) > 0 {
			return nil, at(l, fail(ErrUnsupported, "the folder is no OCI layout and not empty (choose another)"))
		}
		if err := writeFile(filepath.Join(l.Path, ocispec.ImageLayoutFile), []byte(layoutFileBytes)); err != nil {
			return nil, at(l, err)
		}
	}
	return &layoutDir{loc: l, name: name}, nil
}

func (s *layoutDir) path(name string) string {
	return filepath.Join(s.loc.Path, filepath.FromSlash(name))
}

func (s *layoutDir) Missing(_ context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var missing []ocispec.Descriptor
	for _, d := range blobs {
		// Files come here by rename, whole: the size tells as much as is needed.
		if fi, err := os.Stat(s.path(blobName(d.Digest))); err != nil || fi.Size() != d.Size || !fi.Mode().IsRegular() {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (s *layoutDir) PutBlob(ctx context.Context, d ocispec.Descriptor, c Content) error {
	r, err := c.Open(ctx, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.write(blobName(d.Digest), func(f *os.File) error {
		_, err := copyContext(ctx, f, r)
		return err
	})
}

func (s *layoutDir) PutManifest(_ context.Context, d ocispec.Descriptor, b []byte) error {
	return s.write(blobName(d.Digest), func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

func (s *layoutDir) Finish(ctx context.Context, root ocispec.Descriptor, b []byte) error {
	if err := s.PutManifest(ctx, root, b); err != nil {
		return err
	}
	unlock, err := lockDir(s.loc.Path)
	if err != nil {
		return at(s.loc, err)
	}
	defer unlock()
	old, err := readSmall(folder(s.loc.Path), ocispec.ImageIndexFile, maxIndex)
	if err != nil && !notExist(err) {
		return at(s.loc, err)
	}
	index, err := addEntry(old, root, s.name)
	if err != nil {
		return at(s.loc, err)
	}
	return s.write(ocispec.ImageIndexFile, func(f *os.File) error {
		_, err := f.Write(index)
		return err
	})
}

func (s *layoutDir) write(name string, fill func(*os.File) error) error {
	p := s.path(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return at(s.loc, err)
	}
	return replaceFile(p, fill)
}

func (s *layoutDir) Close() error { return nil }

// addEntry puts an image into the bytes of an index.json (nil: there is none
// yet), instead of the one that has its name now. What else is in it stays as it
// is.
func addEntry(old []byte, root ocispec.Descriptor, name string) ([]byte, error) {
	index := map[string]json.RawMessage{}
	var entries, kept []json.RawMessage
	if old != nil {
		if err := json.Unmarshal(old, &index); err != nil {
			return nil, fail(ErrDamaged, "%s is no JSON: %v", ocispec.ImageIndexFile, err)
		}
		if m, ok := index["manifests"]; ok {
			if err := json.Unmarshal(m, &entries); err != nil {
				return nil, fail(ErrDamaged, "manifests in %s: %v", ocispec.ImageIndexFile, err)
			}
		}
	} else {
		index["schemaVersion"] = json.RawMessage("2")
		index["mediaType"], _ = json.Marshal(ocispec.MediaTypeImageIndex)
	}
	for _, e := range entries {
		var d ocispec.Descriptor
		if err := json.Unmarshal(e, &d); err != nil {
			return nil, fail(ErrDamaged, "an entry in %s: %v", ocispec.ImageIndexFile, err)
		}
		has := d.Annotations[ocispec.AnnotationRefName]
		if has == name && (name != "" || d.Digest == root.Digest) {
			continue
		}
		kept = append(kept, e)
	}
	entry, err := json.Marshal(indexEntry(root, name))
	if err != nil {
		return nil, err
	}
	if index["manifests"], err = json.Marshal(append(kept, entry)); err != nil {
		return nil, err
	}
	return json.MarshalIndent(index, "", "  ")
}

func indexEntry(root ocispec.Descriptor, name string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: root.MediaType, Digest: root.Digest, Size: root.Size, Platform: root.Platform}
	if name != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	}
	return d
}

// lockDir keeps other processes that ask for it out of a folder until unlock is
// called.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
