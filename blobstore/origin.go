package blobstore

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// maxOrigins bounds the origins that a blob's record names.
const maxOrigins = 4

// addOrigin notes that the blob was uploaded to repo, in place of the oldest
// origin if there is no room. It is done with writes that take place anyway: a
// hint is not worth one of its own.
func (r *blobRecord) addOrigin(repo reference.Repository) {
	if repo == "" || slices.Contains(r.Origins, repo) {
		return
	}
	keep := r.Origins[max(0, len(r.Origins)-maxOrigins+1):]
	r.Origins = append(slices.Clone(keep), repo)
}

// MountFromAny is Mount for a caller that does not know where the blob is: from
// repo itself, or from one of those that it was uploaded to and for which may
// says that the caller may read it. The blob's record names only some of these,
// and each is asked whether it still holds the blob: so it may be found nowhere
// although some repository has it, and the caller then uploads it.
//
// Nothing is promised, and nothing written, before may has allowed it.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) MountFromAny(ctx context.Context, repo reference.Repository, d digest.Digest, may func(reference.Repository) bool) (Blob, error) {
	b, err := s.Stat(ctx, repo, d)
	if !errors.Is(err, ErrBlobUnknown) {
		return b, err
	}
	r, _, _, err := s.readBlobRecord(ctx, d)
	if err != nil {
		return Blob{}, err
	}
	for _, from := range slices.Backward(r.Origins) {
		if from == repo || !may(from) {
			continue
		}
		b, err := s.Mount(ctx, repo, from, d)
		if !errors.Is(err, ErrBlobUnknown) {
			return b, err
		}
	}
	return Blob{}, fail(ErrBlobUnknown, d, "in no repository that it may be mounted from").remedy("upload it")
}
