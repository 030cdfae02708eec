package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Swap is Replace for a caller that goes on with whatever is there: done says
// whether v was written; if not, now is the record that was in the way (the
// zero value when there is none any more), read in the same call. So to write
// without having read costs one call when the guess was right, and two when not.
// Errors: ErrInvalid, bucket.ErrTooLate, bucket.ErrFull, bucket.ErrUnavailable.
func Swap[T any, P pointer[T]](ctx context.Context, s *Store, key string, old Version, v P, notAfter time.Time) (now T, at Version, done bool, err error) {
	v.header().Rev = newRev()
	raw, err := json.Marshal(v)
	if err != nil {
		return now, at, false, fmt.Errorf("encode record %s: %w", key, err)
	}
	if len(raw) > MaxSize {
		return now, at, false, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrInvalid, key, len(raw), MaxSize)
	}
	cond := bucket.Condition{IfAbsent: old == Version{}, IfMatch: old.ETag, NotAfter: notAfter}
	info, err := s.b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), cond)
	if err == nil {
		return *v, Version{ETag: info.ETag, Rev: v.header().Rev}, true, nil
	}
	lost := errors.Is(err, bucket.ErrUnavailable)
	if !lost && !errors.Is(err, bucket.ErrPrecondition) {
		return now, at, false, err
	}
	now, at, rerr := Read[T, P](ctx, s, key)
	switch {
	case rerr == nil && at.Rev == v.header().Rev:
		return now, at, true, nil
	case lost: // it may still happen: nothing else may be assumed
		var none T
		return none, Version{}, false, err
	case errors.Is(rerr, bucket.ErrNotExist):
		var none T
		return none, Version{}, false, nil
	default:
		return now, at, false, rerr
	}
}
