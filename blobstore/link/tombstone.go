package link

import (
	"context"
	"errors"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// A State is a link's record as the bucket has it, live or a tombstone.
type State struct {
	Link
	Gone bool // since Since

	record  linkRecord
	version record.Version
}

// Look returns the record at key from the bucket, also when it is a tombstone,
// and remembers nothing: it is for who looks at all links once.
// Errors: bucket.ErrNotExist when there is none; bucket.ErrUnavailable.
func (s *Store) Look(ctx context.Context, key string) (State, error) {
	r, v, err := record.Read[linkRecord](ctx, s.records, key)
	return State{Link: r.link(), Gone: r.Gone, record: r, version: v}, err
}

// Bury makes the live link that Look has found a tombstone, if it is as it was
// then, and says whether it did. It does not wait for the leases of others: it
// is for links that do not count any more whoever holds them.
// Errors: bucket.ErrUnavailable, after which it may or may not be there.
func (s *Store) Bury(ctx context.Context, key string, l State) (bool, error) {
	r := l.record
	r.Gone, r.Leaving, r.Since, r.Payload = true, "", s.clock.Now().UTC(), nil
	_, err := record.Replace[linkRecord](ctx, s.records, key, l.version, &r, time.Time{})
	if errors.Is(err, bucket.ErrPrecondition) {
		return false, nil
	}
	if err == nil {
		s.leased.Remove(key)
	}
	return err == nil, err
}

// Forget removes the tombstone that Look has found, if it is as it was then,
// and says whether it did. The caller knows that no write that was sent before
// it can land after it. Errors: bucket.ErrUnavailable, after which it may or may
// not be there.
func (s *Store) Forget(ctx context.Context, key string, l State) (bool, error) {
	return record.DeleteIf(ctx, s.records, key, l.version)
}
