package blobstore

import (
	"context"
	"errors"
	"iter"
)

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
