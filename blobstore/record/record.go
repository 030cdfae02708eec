// Package record keeps small JSON objects in a bucket and changes them only by
// compare-and-swap. Records are all that is mutable in a bucket; data objects
// are written once.
//
// Every version of a record carries a fresh random rev. Buckets may use content
// hashes as ETags, and then the same content twice has the same ETag: the rev
// keeps two versions from ever comparing equal, and tells a writer whose answer
// was lost whether what it reads back is its own.
//
// A rule for callers: after ErrPrecondition or an unclear answer the record
// decides, and functions here have read it again already. When they say
// bucket.ErrPrecondition, somebody else's version is there. When they say
// bucket.ErrUnavailable, the write may still happen, at any later time until
// its deadline; nothing may be assumed.
package record

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// MaxSize is the largest record in bytes. A blob of 64 KiB inline takes 88 KiB;
// the report of a node with thousands of containers is the largest there is.
const MaxSize = 4 << 20

// maxAttempts bounds Update when others change the same record all the time.
const maxAttempts = 64

// ErrInvalid is returned for an object under a record's key that is no record.
var ErrInvalid = errors.New("object is no valid record")

// Header is what every record begins with: embed it first.
type Header struct {
	// Rev is random and new in every version. Set by this package.
	Rev string `json:"rev"`
}

func (h *Header) header() *Header { return h }

// A pointer to a record type: one that embeds Header.
type pointer[T any] interface {
	*T
	header() *Header
}

// A Version is what a compare-and-swap compares. The zero Version stands for a
// record that does not exist.
type Version struct {
	ETag bucket.ETag
	Rev  string
}

// A Store reads and writes records in a bucket. Safe for concurrent use.
type Store struct {
	b bucket.Bucket
}

// New returns a Store over b. It holds nothing that needs closing.
func New(b bucket.Bucket) *Store { return &Store{b: b} }

// Read returns the record at key and its version.
// Errors: bucket.ErrNotExist, ErrInvalid, bucket.ErrUnavailable.
func Read[T any, P pointer[T]](ctx context.Context, s *Store, key string) (T, Version, error) {
	var v T
	r, info, err := s.b.Get(ctx, key, 0, -1)
	if err != nil {
		return v, Version{}, err
	}
	defer r.Close()
	if info.Size > MaxSize {
		return v, Version{}, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrInvalid, key, info.Size, MaxSize)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return v, Version{}, fmt.Errorf("read record %s: %w", key, err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, Version{}, fmt.Errorf("%w: %s: %v", ErrInvalid, key, err)
	}
	rev := P(&v).header().Rev
	if rev == "" {
		return v, Version{}, fmt.Errorf("%w: %s: it has no rev", ErrInvalid, key)
	}
	return v, Version{ETag: info.ETag, Rev: rev}, nil
}

// Create writes v at key if there is no record, not later than notAfter (zero:
// whenever). It sets v's rev.
// Errors: bucket.ErrPrecondition when another record is there,
// bucket.ErrTooLate, bucket.ErrFull, bucket.ErrUnavailable.
func Create[T any, P pointer[T]](ctx context.Context, s *Store, key string, v P, notAfter time.Time) (Version, error) {
	return write[T](ctx, s, key, v, bucket.Condition{IfAbsent: true, NotAfter: notAfter})
}

// Replace writes v at key if the record there is at version old; a zero old
// means Create. Errors as for Create.
func Replace[T any, P pointer[T]](ctx context.Context, s *Store, key string, old Version, v P, notAfter time.Time) (Version, error) {
	if old == (Version{}) {
		return Create[T](ctx, s, key, v, notAfter)
	}
	return write[T](ctx, s, key, v, bucket.Condition{IfMatch: old.ETag, NotAfter: notAfter})
}

func write[T any, P pointer[T]](ctx context.Context, s *Store, key string, v P, cond bucket.Condition) (Version, error) {
	rev := newRev()
	v.header().Rev = rev
	raw, err := json.Marshal(v)
	if err != nil {
		return Version{}, fmt.Errorf("encode record %s: %w", key, err)
	}
	if len(raw) > MaxSize {
		return Version{}, fmt.Errorf("%w: %s: %d bytes, at most %d", ErrInvalid, key, len(raw), MaxSize)
	}
	info, err := s.b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), cond)
	switch {
	case err == nil:
		return Version{ETag: info.ETag, Rev: rev}, nil
	case !errors.Is(err, bucket.ErrPrecondition) && !errors.Is(err, bucket.ErrUnavailable):
		return Version{}, err
	}
	// Either may hide a success whose answer was lost: the record decides.
	_, now, rerr := Read[T, P](ctx, s, key)
	if rerr == nil && now.Rev == rev {
		return now, nil
	}
	if rerr != nil && (errors.Is(rerr, bucket.ErrUnavailable) || ctx.Err() != nil) {
		// The record has not decided: what is there may be ours.
		return Version{}, fmt.Errorf("write record %s: it is not known whether it was: %w", key, rerr)
	}
	return Version{}, err
}

// Update reads the record at key (the zero value when there is none), lets
// change alter it, and writes it back, again and again until nobody comes
// between. change may run several times; when it returns false nothing is
// written. Update returns the record as it is then.
// Errors: those of change, Read and Replace; bucket.ErrPrecondition when others
// were faster 64 times in a row.
func Update[T any, P pointer[T]](ctx context.Context, s *Store, key string, notAfter time.Time,
	change func(v P, exists bool) (bool, error)) (T, Version, error) {
	for range maxAttempts {
		v, old, err := Read[T, P](ctx, s, key)
		exists := err == nil
		if err != nil && !errors.Is(err, bucket.ErrNotExist) {
			return v, old, err
		}
		changed, err := change(&v, exists)
		if err != nil || !changed {
			return v, old, err
		}
		now, err := Replace[T](ctx, s, key, old, P(&v), notAfter)
		if err == nil {
			return v, now, nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return v, old, err
		}
	}
	var v T
	return v, Version{}, fmt.Errorf("update record %s: %w by others %d times in a row", key, bucket.ErrPrecondition, maxAttempts)
}

func newRev() string { return rand.Text()[:16] }
