package images

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// A via is the way by which something that a manifest names is come by. Whoever
// may read a manifest may read what it names, although the repository may have
// lost the rest: it had all of it when the manifest was pushed. That is not so
// of one that was accepted without some of it: otherwise a digest in a sparse
// index would open what another repository has. There, and below, only what the
// repository holds itself counts.
type via struct {
	repo   reference.Repository
	walled bool
}

// manifest returns the bytes of a manifest.
// Errors: ErrManifestUnknown, ErrCorrupt, bucket.ErrUnavailable.
func (v via) manifest(ctx context.Context, im *Images, d digest.Digest) ([]byte, error) {
	if v.walled {
		_, err := im.links.Get(ctx, ManifestKey(v.repo, d))
		if absent(err) {
			return nil, remedy(fail(blobstore.ErrManifestUnknown, d, "an index names it, but repository %s does not hold it", v.repo), "push it to the same repository")
		}
		if err != nil {
			return nil, err
		}
	}
	return im.read(ctx, d)
}

// lacks says whether err is that of a manifest which a sparse index lacks.
func (v via) lacks(err error) bool { return v.walled && errors.Is(err, blobstore.ErrManifestUnknown) }

// holds says whether a blob counts.
func (v via) holds(ctx context.Context, im *Images, d digest.Digest) (bool, error) {
	if !v.walled {
		return true, nil
	}
	return im.store.HoldsBlob(ctx, v.repo, d)
}
