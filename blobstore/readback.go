package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// What verification needs of the store: to read without promising anything and
// without the caches, and to put back what is bad.

// LinkLife is the life of a blob for which a repository's link to it was made: it
// counts while that is BlobInfo.Life. Errors: one for a payload that is none.
func LinkLife(l link.Link) (string, error) { return lifeOf(l) }

// ReadUnpromised returns the bytes of d, checked, if they are at most limit, as
// they are in the bucket now. Unlike Peek it hashes them always, whatever this
// process has seen of them before, and has nothing quarantined: its caller says
// what is bad.
// Errors: ErrBlobUnknown when it was collected too, ErrTooLarge, ErrCorrupt when no
// copy is sound, record.ErrInvalid, bucket.ErrUnavailable.
func (s *Store) ReadUnpromised(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	r, _, _, err := s.readBlobRecord(ctx, d)
	if err != nil {
		return nil, err
	}
	switch {
	case r.State == collected:
		return nil, fail(ErrBlobUnknown, d, "it has been collected")
	case r.Size > limit:
		return nil, fail(ErrTooLarge, d, "%d bytes, at most %d", r.Size, limit)
	case r.Inline != nil || r.Size == 0: // checked with the record
		return r.Inline, nil
	}
	for _, id := range r.Copies {
		b, err := s.readData(ctx, id, r.Size)
		if err != nil {
			return nil, err
		}
		if d.Algorithm().FromBytes(b) == d {
			return b, nil
		}
	}
	return nil, fail(ErrCorrupt, d, "no copy of it is sound").remedy("push it again")
}

// readData returns the bytes of a data object that should have size bytes; none
// when it has more or less, or is not there.
func (s *Store) readData(ctx context.Context, id dataID, size int64) ([]byte, error) {
	if _, err := idTime(id); err != nil || size < 0 {
		return nil, nil // the record does not hold what it says
	}
	src, info, err := s.bucket.Get(ctx, dataKey(id), 0, -1)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if info.Size != size {
		return nil, nil
	}
	b := make([]byte, size)
	_, err = io.ReadFull(src, b)
	return b, err
}

// Quarantine takes a data object out of the copies of d, into the bad ones, so
// that it is served no more; the caller has read it twice. It says whether it was
// among the copies. Errors: ErrBlobUnknown, ErrCorrupt, bucket.ErrUnavailable.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest, id string) (bool, error) {
	info, err := s.Describe(ctx, d)
	if err != nil || !slices.Contains(info.Copies, id) {
		return false, err
	}
	return true, s.quarantine(ctx, d, id)
}

// Restore stores what r delivers as the blob d, which is in the store but cannot
// be read, and promises it: like Put, hashed on the way, but it makes no
// repository hold the blob. size is its length in bytes, -1 if that is not known.
// Errors: as Put.
func (s *Store) Restore(ctx context.Context, d digest.Digest, size int64, r io.Reader) (Blob, error) {
	return s.Put(ctx, "", d, size, r)
}

// Hold makes repo hold d, which an image of it names, and promises d.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Hold(ctx context.Context, repo reference.Repository, d digest.Digest) (Blob, error) {
	return s.hold(ctx, repo, d)
}

// wellFormed says whether the record says things that can be.
func (r *blobRecord) wellFormed() bool {
	return r.Size >= 0 && (r.State == live || r.State == condemned || r.State == collected)
}

// BuryInvalid makes the record of d one that says it was collected, if it is no
// record, or one that does not hold what it says: so that d can be pushed again.
// The data that it named, which nobody can tell any more, becomes orphans; none of
// it that is old enough to be deleted can be published. It says whether it did.
// Errors: bucket.ErrUnavailable.
func (s *Store) BuryInvalid(ctx context.Context, d digest.Digest) (bool, error) {
	defer s.cache.Remove(d)
	for {
		r, v, err := record.Read[blobRecord](ctx, s.records, BlobKey(d))
		switch {
		case err == nil && r.sound(d) == nil && r.wellFormed(), gone(err):
			return false, nil
		case err == nil:
			r.Digest, r.Inline, r.Size = d, nil, max(r.Size, 0)
		case errors.Is(err, record.ErrInvalid):
			info, serr := s.bucket.Stat(ctx, BlobKey(d))
			if gone(serr) {
				return false, nil
			}
			if serr != nil {
				return false, serr
			}
			r, v = blobRecord{Digest: d}, record.Version{ETag: info.ETag}
		default:
			return false, err
		}
		r.State, r.Promise, r.Condemned, r.Gone = collected, time.Time{}, time.Time{}, s.clock.Now().UTC()
		_, err = record.Replace(ctx, s.records, BlobKey(d), v, &r, time.Time{})
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return false, fmt.Errorf("bury the record of %s: %w", d, err)
		}
	}
}
