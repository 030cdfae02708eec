package blobstore

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
)

// Open reads n bytes of a blob that repo holds, from byte off; n < 0 means to
// the end, and a range that reaches past the end is cut there. It promises the
// blob. The caller closes the Reader.
// Errors: ErrBlobUnknown; ErrRange when off is negative or behind the end;
// ErrCorrupt when no copy has the right size; bucket.ErrUnavailable.
func (s *Store) Open(ctx context.Context, repo reference.Repository, d digest.Digest, off, n int64) (*Reader, error) {
	r, err := s.held(ctx, repo, d, s.readEarly(ctx, d))
	if err != nil {
		return nil, err
	}
	return s.open(ctx, r, off, n)
}

// OpenAny is Open without a repository, for callers that have the right to d
// from elsewhere.
func (s *Store) OpenAny(ctx context.Context, d digest.Digest, off, n int64) (*Reader, error) {
	r, err := s.promise(ctx, d, false)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, r, off, n)
}

func (s *Store) open(ctx context.Context, r blobRecord, off, n int64) (*Reader, error) {
	d := r.Digest
	if off < 0 || off > r.Size {
		return nil, fail(ErrRange, d, "byte %d of a blob of %d bytes", off, r.Size)
	}
	if n < 0 || n > r.Size-off {
		n = r.Size - off
	}
	rd, err := s.openCopies(ctx, &r, off, n)
	if errors.Is(err, ErrCorrupt) { // perhaps by a record that was cached too long: ask again
		s.cache.Remove(d)
		if r, err = s.promise(ctx, d, false); err == nil {
			rd, err = s.openCopies(ctx, &r, off, n)
		}
	}
	return rd, err
}

func (s *Store) openCopies(ctx context.Context, r *blobRecord, off, n int64) (*Reader, error) {
	rd := &Reader{store: s, blob: s.blob(r), left: n, whole: n == r.Size}
	if r.Size == 0 || r.Inline != nil {
		rd.src = io.NopCloser(bytes.NewReader(r.Inline[off : off+n]))
		return rd.begin(), nil
	}
	last := error(fail(ErrCorrupt, r.Digest, "its record names no data"))
	for _, id := range r.Copies {
		src, info, err := s.bucket.Get(ctx, dataKey(id), off, n)
		switch {
		case err == nil && info.Size == r.Size:
			rd.src, rd.copy = src, id
			return rd.begin(), nil
		case err == nil:
			src.Close()
			last = fail(ErrCorrupt, r.Digest, "data %s has %d bytes, not %d", id, info.Size, r.Size).remedy("push it again")
		case errors.Is(err, bucket.ErrNotExist) || errors.Is(err, bucket.ErrRange):
			last = fail(ErrCorrupt, r.Digest, "data %s is gone or too short", id).remedy("push it again")
		default:
			return nil, err
		}
		s.log.Error("a copy of a blob is damaged", "digest", r.Digest, "data", id, "error", last)
		s.suspect(r.Digest, id)
	}
	return nil, last
}

// ReadAll returns the whole blob d, checked, if it has at most limit bytes.
// Errors: ErrBlobUnknown, ErrTooLarge, ErrCorrupt, bucket.ErrUnavailable.
func (s *Store) ReadAll(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	r, err := s.OpenAny(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.blob.Size > limit {
		return nil, fail(ErrTooLarge, d, "%d bytes, at most %d", r.blob.Size, limit)
	}
	b := make([]byte, r.blob.Size)
	_, err = io.ReadFull(r, b)
	if err == io.EOF {
		err = nil // an empty blob
	}
	return b, err
}
