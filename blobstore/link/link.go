// Package link keeps links: records that say that a repository has something.
// A link is live or gone, and each time it becomes live it gets a new random
// generation, so that what was written for an earlier life never counts for a
// later one (MODEL, hole 7).
//
// Links are leased: a server that has read a live link may rely on it for a
// short time without asking the bucket, and whoever removes a link waits that
// long before it says that the link is gone. So a caller that has been told
// "gone" never meets an answer from before, on any server.
package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/record"
)

// A Link is the record of a link that is live.
type Link struct {
	Generation string
	Since      time.Time       // when it became live
	Payload    json.RawMessage // what its maker wrote with it
	// Leaving is set while somebody is about to remove the link since nothing
	// names it: see Store.Leave.
	Leaving string
}

// linkRecord is what is stored. A tombstone stays until it can be removed
// safely, which only a collector knows.
type linkRecord struct {
	record.Header
	Generation string          `json:"generation"`
	Gone       bool            `json:"gone,omitempty"`
	Since      time.Time       `json:"since"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	Leaving    string          `json:"leaving,omitempty"`
}

func (r *linkRecord) link() Link {
	return Link{Generation: r.Generation, Since: r.Since, Payload: r.Payload, Leaving: r.Leaving}
}

// Clock is the part of the store's clock that links need.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// A Store reads and writes links. Safe for concurrent use.
type Store struct {
	records *record.Store
	bucket  bucket.Bucket
	clock   Clock
	lease   time.Duration
	leased  *lru.Cache[string, leasedLink]
}

type leasedLink struct {
	link Link
	read time.Time // when the read began
}

// cacheBytes bounds the leased links; each is counted with its key.
const cacheBytes = 4 << 20

// New returns a Store. All servers over one bucket must use the same lease;
// zero turns leasing off.
func New(b bucket.Bucket, r *record.Store, c Clock, lease time.Duration) *Store {
	return &Store{records: r, bucket: b, clock: c, lease: lease, leased: lru.New[string, leasedLink](cacheBytes)}
}

// Get returns the link at key, read not longer ago than the lease.
// Errors: bucket.ErrNotExist when there is no live link; bucket.ErrUnavailable.
func (s *Store) Get(ctx context.Context, key string) (Link, error) {
	if l, ok := s.leased.Get(key); ok {
		if age := s.clock.Now().Sub(l.read); age >= 0 && age < s.lease || mutant.LinkFromOldCache.On() {
			return l.link, nil
		}
	}
	return s.Fresh(ctx, key)
}

// Fresh is Get that always asks the bucket.
func (s *Store) Fresh(ctx context.Context, key string) (Link, error) {
	began := s.clock.Now()
	r, _, err := record.Read[linkRecord](ctx, s.records, key)
	if err == nil && r.Gone {
		err = fmt.Errorf("link %s: %w", key, bucket.ErrNotExist)
	}
	if err != nil {
		s.leased.Remove(key)
		return Link{}, err
	}
	s.keep(key, r.link(), began)
	return r.link(), nil
}

func (s *Store) keep(key string, l Link, began time.Time) {
	if s.lease > 0 {
		s.leased.Put(key, leasedLink{l, began}, int64(len(key)+len(l.Payload)+200))
	}
}

// Make sees to it that there is a live link at key, and returns it: the one
// that is there, or a new one with the payload, written not later than
// notAfter (zero: whenever). Made says which.
// Errors: bucket.ErrTooLate, bucket.ErrFull, bucket.ErrUnavailable, after which
// the link may or may not be there.
func (s *Store) Make(ctx context.Context, key string, payload json.RawMessage, notAfter time.Time) (l Link, made bool, err error) {
	return s.make(ctx, key, payload, notAfter, func(Link) bool { return true })
}

// MakeFor is Make of a link with this very payload: a live one with another is
// replaced, unless notAfter has passed. Errors: as Make.
func (s *Store) MakeFor(ctx context.Context, key string, payload json.RawMessage, notAfter time.Time) (l Link, made bool, err error) {
	return s.make(ctx, key, payload, notAfter, func(l Link) bool { return bytes.Equal(l.Payload, payload) })
}

// make is Make that accepts of the live links only those that will do.
func (s *Store) make(ctx context.Context, key string, payload json.RawMessage, notAfter time.Time, willDo func(Link) bool) (l Link, made bool, err error) {
	var old record.Version
	for range 16 {
		began := s.clock.Now()
		r := &linkRecord{Generation: rand.Text()[:16], Since: began.UTC(), Payload: payload}
		_, err = record.Replace[linkRecord](ctx, s.records, key, old, r, notAfter)
		if err == nil {
			s.keep(key, r.link(), began)
			return r.link(), true, nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return Link{}, false, err
		}
		began = s.clock.Now()
		cur, v, rerr := record.Read[linkRecord](ctx, s.records, key)
		switch {
		case errors.Is(rerr, bucket.ErrNotExist):
			old = record.Version{}
		case rerr != nil:
			return Link{}, false, rerr
		case !cur.Gone && willDo(cur.link()):
			s.keep(key, cur.link(), began)
			return cur.link(), false, nil
		case !cur.Gone && !notAfter.IsZero() && s.clock.Now().After(notAfter):
			// It may be a newer one than the caller knows of.
			return Link{}, false, fmt.Errorf("make link %s: %w", key, bucket.ErrTooLate)
		default:
			old = v
		}
	}
	return Link{}, false, fmt.Errorf("make link %s: %w", key, err)
}

// Remove takes the link at key away, and returns when no server relies on it
// any more. Errors: bucket.ErrNotExist when there is no live link;
// bucket.ErrUnavailable, after which it may or may not be there; ctx's error
// when that ended during the wait, after which it is gone but may be relied on
// for the rest of the lease.
func (s *Store) Remove(ctx context.Context, key string) error {
	return s.remove(ctx, key, "")
}

// RemoveGeneration is Remove of one generation: another one is left alone, and
// bucket.ErrNotExist is returned.
func (s *Store) RemoveGeneration(ctx context.Context, key, generation string) error {
	return s.remove(ctx, key, generation)
}

func (s *Store) remove(ctx context.Context, key, generation string) error {
	seen := false
	for range 16 {
		r, v, err := record.Read[linkRecord](ctx, s.records, key)
		if err != nil {
			return err
		}
		if generation == "" {
			generation = r.Generation
		}
		if mutant.RemoveAnyLife.On() {
			generation = r.Generation
		}
		if r.Gone || r.Generation != generation {
			if seen { // a lost answer, or somebody else removed the same one
				break
			}
			return fmt.Errorf("link %s: %w", key, bucket.ErrNotExist)
		}
		seen = true
		r.Gone, r.Leaving, r.Since, r.Payload = true, "", s.clock.Now().UTC(), nil
		_, err = record.Replace[linkRecord](ctx, s.records, key, v, &r, time.Time{})
		if err == nil {
			break
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return err
		}
	}
	s.leased.Remove(key)
	return s.clock.Sleep(ctx, s.lease)
}

// An Entry is one link of a listing.
type Entry struct {
	Key string
	Link
}

// List yields the live links whose keys begin with prefix and are greater than
// after, in the order of their keys. Each is read: one call to the bucket, and
// one a thousand for the listing.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for info, err := range s.bucket.List(ctx, prefix, after) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			l, err := s.Fresh(ctx, info.Key)
			if errors.Is(err, bucket.ErrNotExist) {
				continue
			}
			if !yield(Entry{info.Key, l}, err) || err != nil {
				return
			}
		}
	}
}
