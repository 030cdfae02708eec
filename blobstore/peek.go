package blobstore

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Peek is ReadAll that promises nothing and changes nothing, for those who walk
// through the whole store: what they look at is not kept the longer for it, and
// may be collected before they have read it. A condemned blob can be read too.
// Errors: ErrBlobUnknown when it is not there or has been collected; ErrTooLarge;
// ErrCorrupt when no copy is sound, or all have been quarantined;
// bucket.ErrUnavailable.
func (s *Store) Peek(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	r, _, _, err := s.readBlobRecord(ctx, d)
	switch {
	case err != nil:
		return nil, err
	case r.State == collected:
		return nil, fail(ErrBlobUnknown, d, "it has been collected").remedy("push it again")
	case r.Size > limit:
		return nil, fail(ErrTooLarge, d, "%d bytes, at most %d", r.Size, limit)
	case !r.readable():
		return nil, fail(ErrCorrupt, d, "no copy of it is sound").remedy("push it again")
	}
	rd, err := s.openCopies(ctx, &r, 0, r.Size)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	b := make([]byte, r.Size)
	_, err = io.ReadFull(rd, b)
	if err == io.EOF {
		err = nil // an empty blob
	}
	return b, err
}
