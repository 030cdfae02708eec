package blobstore

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
)

// ErrNotPresigned says that no URL of the bucket leads to a blob's bytes: they
// are in its record, or in a form other than as pushed, or the bucket has no
// such URLs. Read it by Open.
var ErrNotPresigned = errors.New("no URL leads to it")

// Presigns says whether the bucket can give URLs at all.
func (s *Store) Presigns() bool {
	_, ok := s.bucket.(bucket.Presigner)
	return ok
}

// Presign promises a blob that repo holds, and returns a URL from which anyone
// may read its bytes for the time given, from the bucket itself. Nobody checks
// these bytes on their way (design 4.5): whoever reads them must.
// Errors: ErrBlobUnknown, ErrNotPresigned, bucket.ErrUnavailable.
func (s *Store) Presign(ctx context.Context, repo reference.Repository, d digest.Digest, lasts time.Duration) (string, error) {
	p, ok := s.bucket.(bucket.Presigner)
	if !ok {
		return "", ErrNotPresigned
	}
	if err := s.mustHold(ctx, repo, d); err != nil {
		return "", err
	}
	r, err := s.promise(ctx, d, false)
	if err != nil {
		return "", err
	}
	if r.Size == 0 || r.Inline != nil || len(r.Copies) == 0 {
		return "", ErrNotPresigned
	}
	return p.PresignGet(ctx, dataKey(r.Copies[0]), lasts)
}
