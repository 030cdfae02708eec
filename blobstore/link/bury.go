package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// BuryInvalid makes what is at key a tombstone if it is no record, so that the link
// can be made anew. It says whether it did. Errors: bucket.ErrUnavailable.
func (s *Store) BuryInvalid(ctx context.Context, key string) (bool, error) {
	for {
		_, _, err := record.Read[linkRecord](ctx, s.records, key)
		if err == nil || errors.Is(err, bucket.ErrNotExist) {
			return false, nil
		}
		if !errors.Is(err, record.ErrInvalid) {
			return false, err
		}
		info, err := s.bucket.Stat(ctx, key)
		if errors.Is(err, bucket.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		r := &linkRecord{Generation: "none", Gone: true, Since: s.clock.Now().UTC()}
		_, err = record.Replace[linkRecord](ctx, s.records, key, record.Version{ETag: info.ETag}, r, time.Time{})
		if err == nil {
			s.leased.Remove(key)
			return true, nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return false, fmt.Errorf("bury link %s: %w", key, err)
		}
	}
}
