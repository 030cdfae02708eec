package usage

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// walk goes through the store and tells t what is there.
func (c *Counter) walk(ctx context.Context, t *tally) error {
	for repo, err := range c.images.Repositories(ctx, "") {
		if err == nil {
			err = c.repository(ctx, t, repo)
		}
		if err != nil {
			return err
		}
	}
	for b, err := range c.store.Blobs(ctx, "") {
		if err != nil {
			return err
		}
		t.blob(b.Digest, b.Size)
	}
	return nil
}

func (c *Counter) repository(ctx context.Context, t *tally, repo reference.Repository) error {
	t.begin(repo)
	counted := map[digest.Digest]bool{} // what is linked, or reached through an index
	var indexes []images.Descriptor
	for m, err := range c.images.Manifests(ctx, repo, "") {
		if err != nil {
			return err
		}
		counted[m.Digest] = true
		if images.IsIndex(m.MediaType) {
			indexes = append(indexes, m) // when it is known which manifests are linked
		} else if _, err := c.manifest(ctx, t, m); err != nil {
			return err
		}
	}
	for len(indexes) > 0 {
		inner, err := c.manifest(ctx, t, indexes[0])
		if err != nil {
			return err
		}
		indexes = indexes[1:]
		for _, m := range inner {
			if !counted[m.Digest] && (images.IsIndex(m.MediaType) || images.IsManifest(m.MediaType)) {
				counted[m.Digest] = true
				indexes = append(indexes, m)
			}
		}
	}
	for _, err := range c.images.TagNames(ctx, repo, "") {
		if err != nil {
			return err
		}
		t.tag()
	}
	return nil
}

// manifest counts a manifest and the blobs that it names, and returns the
// manifests that it names.
func (c *Counter) manifest(ctx context.Context, t *tally, m images.Descriptor) ([]images.Descriptor, error) {
	b, err := c.store.ReadAll(ctx, m.Digest, images.MaxManifestSize)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		return nil, nil // one of a sparse index, or deleted and collected since it was listed
	}
	if err != nil {
		return nil, err
	}
	names, err := images.ParseNames(m.MediaType, b)
	if err != nil {
		return nil, err
	}
	sizes := map[digest.Digest]int64{m.Digest: m.Size}
	if names.Config != nil {
		sizes[names.Config.Digest] = names.Config.Size
	}
	for _, l := range names.Layers {
		sizes[l.Digest] = l.Size
	}
	t.image(m.Digest, sizes)
	return names.Manifests, nil
}
