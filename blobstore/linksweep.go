package blobstore

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// SweepLink takes the next step for the link by which repo holds d, or held it:
// when the blob is gone the link becomes a tombstone, and a tombstone from before
// that time is removed where the bucket allows it (record.Store.CanForget). With
// dry it only says which, and what the link is of is taken for gone.
// Errors: ErrCorrupt, bucket.ErrUnavailable.
func (s *Store) SweepLink(ctx context.Context, repo reference.Repository, d digest.Digest, before time.Time, dry bool) (Step, error) {
	key := BlobLinkKey(repo, d)
	l, err := s.links.Look(ctx, key)
	switch {
	case gone(err):
		return Kept, nil
	case err != nil:
		return Kept, err
	case l.Gone && (!l.Since.Before(before) || !s.records.CanForget()):
		return Kept, nil
	case l.Gone && dry:
		return Removed, nil
	case l.Gone:
		done, err := s.links.Forget(ctx, key, l)
		return stepIf(done, Removed), err
	case dry:
		return Collected, nil
	}
	// Read after the link: if the blob is gone now, the link is of an earlier life
	// of it, and does not count any more whatever comes.
	r, _, _, err := s.readBlobRecord(ctx, d)
	if err != nil && !errors.Is(err, ErrBlobUnknown) {
		return Kept, err
	}
	if err == nil && r.State != collected {
		return Kept, nil
	}
	done, err := s.links.Bury(ctx, key, l)
	return stepIf(done, Collected), err
}

// SweepTombstone is SweepLink for a link that may count: only a tombstone goes.
func (s *Store) SweepTombstone(ctx context.Context, repo reference.Repository, d digest.Digest, before time.Time, dry bool) (Step, error) {
	if !s.records.CanForget() {
		return Kept, nil
	}
	key := BlobLinkKey(repo, d)
	l, err := s.links.Look(ctx, key)
	if gone(err) || err == nil && (!l.Gone || !l.Since.Before(before)) {
		return Kept, nil
	}
	if err != nil || dry {
		return stepIf(err == nil, Removed), err
	}
	done, err := s.links.Forget(ctx, key, l)
	return stepIf(done, Removed), err
}

func stepIf(done bool, s Step) Step {
	if !done {
		return Kept // somebody came in between
	}
	return s
}
