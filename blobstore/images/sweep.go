package images

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Pruned says whether something may have been removed from repo before now: if
// not, all tags that a listing of the bucket finds count.
// Errors: bucket.ErrUnavailable.
func (im *Images) Pruned(ctx context.Context, repo reference.Repository) (bool, error) {
	pruned, err := im.pruned(ctx, repo)
	if errors.Is(err, blobstore.ErrRepositoryUnknown) {
		return false, nil
	}
	return pruned, err
}

// SweepTag takes the next step for a tag that does not count any more: it
// becomes a tombstone, and a tombstone from before that time is removed where
// the bucket allows it (record.Store.CanForget). With dry it only says which.
// Errors: bucket.ErrUnavailable.
func (im *Images) SweepTag(ctx context.Context, repo reference.Repository, tag reference.Tag, before time.Time, dry bool) (blobstore.Step, error) {
	return im.sweepPointer(ctx, repo, tagKey(repo, tag), before, dry)
}

// SweepReferrer is SweepTag for the record of the referrer d of subject.
func (im *Images) SweepReferrer(ctx context.Context, repo reference.Repository, subject, d digest.Digest, before time.Time, dry bool) (blobstore.Step, error) {
	return im.sweepPointer(ctx, repo, referrersPrefix(repo, subject)+string(d), before, dry)
}

func (im *Images) sweepPointer(ctx context.Context, repo reference.Repository, key string, before time.Time, dry bool) (blobstore.Step, error) {
	p, err := im.readPointer(ctx, key)
	if err != nil || p.version == (record.Version{}) {
		return blobstore.Kept, err
	}
	if p.Gone || p.Digest == "" {
		if !im.records.CanForget() || !p.Since.Before(before) {
			return blobstore.Kept, nil
		}
		done, err := true, error(nil)
		if !dry {
			im.pointers.Remove(key)
			done, err = record.DeleteIf(ctx, im.records, key, p.version)
		}
		return stepIf(done, blobstore.Removed), err
	}
	// Read after the pointer: a generation that is not live now never is again.
	l, err := im.links.Look(ctx, ManifestKey(repo, p.Digest))
	if err != nil && !absent(err) {
		return blobstore.Kept, err
	}
	if err == nil && !l.Gone && l.Generation == p.Generation {
		return blobstore.Kept, nil
	}
	done := true
	err = nil
	if !dry {
		_, done, err = im.swapPointer(ctx, key, p.version, p.tombstone(im.clock.Now().UTC()))
	}
	return stepIf(done, blobstore.Collected), err
}

func stepIf(done bool, s blobstore.Step) blobstore.Step {
	if !done {
		return blobstore.Kept // somebody came in between
	}
	return s
}

// SweepManifest removes the tombstone of a manifest's link from before that time
// where the bucket allows it. Errors: bucket.ErrUnavailable.
func (im *Images) SweepManifest(ctx context.Context, repo reference.Repository, d digest.Digest, before time.Time, dry bool) (blobstore.Step, error) {
	key := ManifestKey(repo, d)
	l, err := im.links.Look(ctx, key)
	if absent(err) || err == nil && (!l.Gone || !l.Since.Before(before) || !im.records.CanForget()) {
		return blobstore.Kept, nil
	}
	if err != nil {
		return blobstore.Kept, err
	}
	done := true
	if !dry {
		done, err = im.links.Forget(ctx, key, l)
	}
	return stepIf(done, blobstore.Removed), err
}
