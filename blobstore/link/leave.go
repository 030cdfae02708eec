package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// Leaving, then gone: how to remove a link only if nobody begins to rely on it.
//
// Remove is for who wants a link gone, whatever names it. Somebody who removes
// links since nothing names them needs more: a name that is written between the
// look for names and the removal must win. So such a link is first said to be
// leaving (Leave). When Leave returns, whoever reads the link sees that, on every
// server; a writer of names looks at the link after its name is written, and if
// it is leaving has it stay (Stay). Then the names are looked for once more, and
// RemoveLeaving removes the link only if it still is leaving by the same token: a
// name written before that look was seen by it, one written after it has had the
// link stay, or finds it gone and is not acknowledged.

// Leave says that the live link of a generation is leaving, and returns the
// token for RemoveLeaving. The caller waits for the lease (Settle) before it
// looks for names. Errors: bucket.ErrNotExist when there is no such live link;
// bucket.ErrUnavailable, after which it may be leaving, which does no harm.
func (s *Store) Leave(ctx context.Context, key, generation string) (token string, err error) {
	token = rand.Text()[:16]
	_, err = s.change(ctx, key, generation, func(r *linkRecord) bool {
		r.Leaving = token
		return true
	})
	return token, err
}

// Settle waits until no server relies on what it read of a link before now.
// Errors: ctx's.
func (s *Store) Settle(ctx context.Context) error { return s.clock.Sleep(ctx, s.lease) }

// Stay has the live link of a generation stay if it is leaving, and counts as
// its being made anew: Since is now. Errors: bucket.ErrNotExist when there is no
// such live link any more; bucket.ErrUnavailable, after which it may be gone.
func (s *Store) Stay(ctx context.Context, key, generation string) (Link, error) {
	return s.change(ctx, key, generation, func(r *linkRecord) bool {
		r.Leaving, r.Since = "", s.clock.Now().UTC()
		return true
	})
}

// RemoveLeaving removes the link of a generation if it still is leaving by this
// token, and says whether it did. It does not wait for the lease: until that is
// over the link may still be served. Errors: bucket.ErrUnavailable, after which
// it may be gone.
func (s *Store) RemoveLeaving(ctx context.Context, key, generation, token string) (bool, error) {
	_, err := s.change(ctx, key, generation, func(r *linkRecord) bool {
		if r.Leaving != token {
			return false
		}
		r.Gone, r.Leaving, r.Since, r.Payload = true, "", s.clock.Now().UTC(), nil
		return true
	})
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, ErrChanged) {
		return false, nil
	}
	return err == nil, err
}

// Unleave takes back Leave with this token; Since stays as it was. Errors:
// bucket.ErrNotExist, ErrChanged when it is not leaving by this token;
// bucket.ErrUnavailable.
func (s *Store) Unleave(ctx context.Context, key, generation, token string) error {
	_, err := s.change(ctx, key, generation, func(r *linkRecord) bool {
		was := r.Leaving
		r.Leaving = ""
		return was == token
	})
	return err
}

// ErrChanged says that a link is not leaving by the token given.
var ErrChanged = errors.New("link is not as it was")

// change alters the live link of a generation by compare-and-swap, and returns
// it as it is then. Errors: bucket.ErrNotExist, ErrChanged,
// bucket.ErrUnavailable.
func (s *Store) change(ctx context.Context, key, generation string, alter func(*linkRecord) bool) (Link, error) {
	s.leased.Remove(key)
	for range 16 {
		began := s.clock.Now()
		r, v, err := record.Read[linkRecord](ctx, s.records, key)
		if err == nil && (r.Gone || r.Generation != generation) {
			err = fmt.Errorf("link %s: %w", key, bucket.ErrNotExist)
		}
		if err != nil {
			return Link{}, err
		}
		if !alter(&r) {
			return r.link(), ErrChanged
		}
		_, err = record.Replace[linkRecord](ctx, s.records, key, v, &r, time.Time{})
		switch {
		case err == nil && r.Gone:
			s.leased.Remove(key)
			return r.link(), nil
		case err == nil:
			s.keep(key, r.link(), began)
			return r.link(), nil
		case !errors.Is(err, bucket.ErrPrecondition):
			return Link{}, err
		}
	}
	return Link{}, fmt.Errorf("change link %s: %w by others all the time", key, bucket.ErrPrecondition)
}
