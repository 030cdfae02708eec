package record

import (
	"context"
	"errors"
	"fmt"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// CanForget says whether records that are over can be removed from the bucket
// for good: it deletes conditionally, and no write lands after its time.
// Elsewhere a write that was stopped on the way could bring back what was there
// before, and tombstones stay.
func (s *Store) CanForget() bool {
	_, ok := s.b.(bucket.ConditionalDeleter)
	return ok && s.b.Features().RefusesLateWrites
}

// DeleteIf deletes the record at key if it is at version v, and says whether
// it did: also when it was not there any more.
// Errors: errors.ErrUnsupported on a bucket that does not delete conditionally;
// bucket.ErrUnavailable, after which it may or may not be there.
func DeleteIf(ctx context.Context, s *Store, key string, v Version) (bool, error) {
	d, ok := s.b.(bucket.ConditionalDeleter)
	if !ok {
		return false, fmt.Errorf("delete record %s: the bucket has no conditional deletes: %w", key, errors.ErrUnsupported)
	}
	err := d.DeleteIf(ctx, key, v.ETag)
	if errors.Is(err, bucket.ErrPrecondition) {
		return false, nil
	}
	return err == nil, err
}
