package link

import (
	"context"
	"errors"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// A Stored is a link as the bucket has it: live, or a tombstone.
type Stored struct {
	Link
	Gone bool // a tombstone, since Since

	record  linkRecord
	version record.Version
}

// Peek asks the bucket for what is at key, tombstones included, and remembers
// nothing: it is for who looks at all links once.
// Errors: bucket.ErrNotExist, bucket.ErrUnavailable.
func (s *Store) Peek(ctx context.Context, key string) (Stored, error) {
	r, v, err := record.Read[linkRecord](ctx, s.records, key)
	return Stored{Link: r.link(), Gone: r.Gone, record: r, version: v}, err
}

// Bury makes the live link that Peek has found a tombstone, if it is as it was
// then, and says whether it did. It does not wait for the leases of others: it
// is for links that do not count any more whoever holds them.
// Errors: bucket.ErrUnavailable, after which it may or may not be there.
func (s *Store) Bury(ctx context.Context, key string, l Stored) (bool, error) {
	r := l.record
	r.Gone, r.Since, r.Payload = true, s.clock.Now().UTC(), nil
	_, err := record.Replace[linkRecord](ctx, s.records, key, l.version, &r, time.Time{})
	if errors.Is(err, bucket.ErrPrecondition) {
		return false, nil
	}
	if err == nil {
		s.leased.Remove(key)
	}
	return err == nil, err
}

// Forget removes the tombstone that Peek has found, if it is as it was then,
// and says whether it did. The caller knows that no write that was sent before
// it can land after it. Errors: bucket.ErrUnavailable, after which it may or may
// not be there.
func (s *Store) Forget(ctx context.Context, key string, l Stored) (bool, error) {
	return record.DeleteIf(ctx, s.records, key, l.version)
}
