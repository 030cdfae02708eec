package images

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Delete removes the manifest d from repo, and with it every tag that names
// it. Blobs are not touched, nor are the manifests of an index. It returns when
// no server answers with the manifest any more, which takes the time of a lease
// (blobstore.Options.LinkLease).
// Errors: blobstore.ErrManifestUnknown; bucket.ErrUnavailable, after which it
// may or may not be there.
func (im *Images) Delete(ctx context.Context, repo reference.Repository, d digest.Digest) error {
	key := ManifestKey(repo, d)
	unknown := fail(blobstore.ErrManifestUnknown, d, "not in repository %s", repo)
	l, err := im.links.Fresh(ctx, key)
	if absent(err) {
		return unknown
	}
	if err != nil {
		return err
	}
	if err := im.prune(ctx, repo); err != nil {
		return err
	}
	if err := im.links.RemoveGeneration(ctx, key, l.Generation); absent(err) {
		return unknown
	} else if err != nil {
		return err
	}
	manifestUnlinked.Hit()
	s, err := summary(d, l)
	if err != nil || s.Subject == "" {
		return nil // the link is gone, and that is what counts
	}
	im.unrefer(ctx, repo, s.Subject, d, l.Generation)
	return nil
}

// unrefer removes the record of a referrer whose link is gone. It counts no
// more already; this only saves reading it.
func (im *Images) unrefer(ctx context.Context, repo reference.Repository, subject, d digest.Digest, generation string) {
	key := referrersPrefix(repo, subject) + string(d)
	p, err := im.readPointer(ctx, key)
	if err == nil && p.version != (record.Version{}) && !p.Gone && p.Generation == generation {
		_, _, err = im.swapPointer(ctx, key, p.version, &pointer{Gone: true, Since: im.clock.Now().UTC()})
	}
	if err != nil {
		im.log.Warn("the record of a referrer that was deleted stays", "key", key, "error", err)
	}
}
