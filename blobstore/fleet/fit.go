package fleet

import (
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// check looks at what is said of a snapshot by itself.
func (s *Snapshot) check() error {
	if !checkID(s.ID) {
		return remedy(fail(blobstore.ErrSnapshotInvalid, s.ID, "its id is no ULID"), "make one for each snapshot, and use it again only to repeat the call")
	}
	if _, err := reference.ParseRepository(string(s.Repository)); err != nil {
		return err
	}
	if _, err := reference.ParseDigest(string(s.Image.Digest)); err != nil {
		return err
	}
	if s.Tag != "" {
		if _, err := reference.ParseTag(string(s.Tag)); err != nil {
			return err
		}
	}
	if s.NodeID == "" {
		s.NodeID = s.Container.NodeID
	}
	if err := CheckNodeID(s.NodeID); err != nil {
		return err
	}
	if err := s.Container.check(); err != nil {
		return fail(blobstore.ErrSnapshotInvalid, s.ID, "container: %v", err)
	}
	if s.Paused < 0 {
		return fail(blobstore.ErrSnapshotInvalid, s.ID, "the container stood still for %v", s.Paused)
	}
	return nil
}

// fit sees to it that the snapshot is what its image says, and fills in what it
// leaves out.
func (s *Snapshot) fit(i *images.Image) error {
	wrong := func(format string, args ...any) error {
		return remedy(fail(blobstore.ErrSnapshotInvalid, s.ID, format, args...), "register the image that was made of the diff, with its own layers")
	}
	switch {
	case i.Target.Digest != i.Manifest.Digest:
		return wrong("%s is an index", s.Image.Digest)
	case i.OCI == nil || len(i.Layers) == 0 || len(i.OCI.RootFS.DiffIDs) != len(i.Layers):
		return wrong("%s is no container image with layers", s.Image.Digest)
	}
	diffIDs := i.OCI.RootFS.DiffIDs
	top := len(diffIDs) - 1
	if s.ParentDiffIDs == nil {
		s.ParentDiffIDs = slices.Clone(diffIDs[:top])
	}
	if !slices.Equal(s.ParentDiffIDs, diffIDs[:top]) {
		return wrong("its parent has other layers than the image has below the topmost")
	}
	for _, d := range []struct {
		name string
		said *digest.Digest
		is   digest.Digest
	}{
		{"diffID", &s.DiffID, diffIDs[top]},
		{"diff", &s.Diff.Digest, i.Layers[top].Blob.Digest},
		{"parent chain ID", &s.ParentChainID, chainID(diffIDs[:top])},
		{"chain ID", &s.ChainID, chainID(diffIDs)},
	} {
		if *d.said == "" {
			*d.said = d.is
		}
		if *d.said != d.is {
			return wrong("its %s is %s, by the image it is %s", d.name, *d.said, d.is)
		}
	}
	s.Image, s.Diff = i.Target, i.Layers[top].Blob
	return nil
}

func chainID(diffIDs []digest.Digest) digest.Digest { return identity.ChainID(slices.Clone(diffIDs)) }
