package blobstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/opencontainers/go-digest"
)

// Judge takes the next step for a blob that a mark, begun at that time, did not
// reach; with dry it only says which.
// Errors: ErrCorrupt, bucket.ErrUnavailable.
func (s *Store) Judge(ctx context.Context, d digest.Digest, began time.Time, dry bool) (Judgement, error) {
	return Judgement{Digest: d, Step: Kept}, errors.ErrUnsupported
}

// Revive takes a condemned blob back to live, and says whether it did.
// Errors: ErrBlobUnknown when it is gone, bucket.ErrUnavailable.
func (s *Store) Revive(ctx context.Context, d digest.Digest) (bool, error) {
	return false, errors.ErrUnsupported
}

// UploadIDs yields the ids of the upload records greater than after, in order.
// Errors: bucket.ErrUnavailable.
func (s *Store) UploadIDs(ctx context.Context, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", errors.ErrUnsupported) }
}

// UploadData returns the data objects that an upload's record names; none when
// there is no such record. Errors: bucket.ErrUnavailable.
func (s *Store) UploadData(ctx context.Context, id string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

// SweepUpload deals with what an upload has left.
func (s *Store) SweepUpload(ctx context.Context, id string, dry bool) (UploadJudgement, error) {
	return UploadJudgement{ID: id}, errors.ErrUnsupported
}

// SweepData deals with a data object that no record is known to name.
func (s *Store) SweepData(ctx context.Context, id string, dry bool) (DataJudgement, error) {
	return DataJudgement{ID: id, Step: Kept}, errors.ErrUnsupported
}
