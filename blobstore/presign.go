package blobstore

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
)

// Presigns says whether the bucket can give URLs at all.
func (s *Store) Presigns() bool {
	_, ok := s.bucket.(bucket.Presigner)
	return ok
}

// Presign promises a blob that repo holds, and returns a URL from which anyone
// may read its bytes for the time given, from the bucket itself. Nobody checks
// these bytes on their way (design 4.5): whoever reads them must.
//
// The URL is "" when none leads to the bytes: they are in the blob's record, or
// in a form other than as pushed, or the bucket has no such URLs. Read the blob
// by Open then. Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Presign(ctx context.Context, repo reference.Repository, d digest.Digest, lasts time.Duration) (string, error) {
	p, ok := s.bucket.(bucket.Presigner)
	if !ok {
		return "", nil
	}
	r, err := s.held(ctx, repo, d, nil)
	if err != nil {
		return "", err
	}
	if r.Size == 0 || r.Inline != nil || len(r.Copies) == 0 {
		return "", nil
	}
	return p.PresignGet(ctx, dataKey(r.Copies[0]), lasts)
}
