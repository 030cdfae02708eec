package blobstore

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// SweepLink takes the next step for the link by which repo holds d, or held it:
// when the blob is gone, or is here for another life than the link was made for,
// the link becomes a tombstone; and a tombstone from before that time is removed
// where the bucket allows it (record.Store.CanForget). With dry it only says
// which; doomed has it take the blob for gone then.
// Errors: ErrCorrupt, record.ErrInvalid, bucket.ErrUnavailable.
func (s *Store) SweepLink(ctx context.Context, repo reference.Repository, d digest.Digest, before time.Time, dry, doomed bool) (Step, error) {
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
	case dry && doomed:
		return Collected, nil
	}
	life, err := lifeOf(l.Link)
	if err != nil {
		return Kept, err
	}
	// Read after the link: a life that is over now never comes back, and a link
	// that was made for it does not count any more whatever comes.
	r, _, _, err := s.readBlobRecord(ctx, d)
	switch {
	case err != nil && !errors.Is(err, ErrBlobUnknown):
		return Kept, err
	case err == nil && r.State != collected && r.Life == life:
		return Kept, nil
	case dry:
		return Collected, nil
	}
	done, err := s.links.Bury(ctx, key, l)
	return stepIf(done, Collected), err
}

func stepIf(done bool, s Step) Step {
	if !done {
		return Kept // somebody came in between
	}
	return s
}
