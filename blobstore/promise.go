package blobstore

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/record"
)

// A Blob is a blob that is there.
type Blob struct {
	Digest digest.Digest
	Size   int64 // bytes
	// Promised is until when it stays readable for certain, by any server's
	// clock that is not off by more than Options.Skew.
	Promised time.Time
}

type cachedBlob struct {
	record  blobRecord
	version record.Version
	read    time.Time
}

// Promise promises the blob d, whoever asks: callers see to it that they may
// know of it. Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Promise(ctx context.Context, d digest.Digest) (Blob, error) {
	r, err := s.promise(ctx, d, false)
	return s.blob(&r), err
}

// PromiseAnew is Promise that asks the bucket, whatever the cache says.
func (s *Store) PromiseAnew(ctx context.Context, d digest.Digest) (Blob, error) {
	r, err := s.promise(ctx, d, true)
	return s.blob(&r), err
}

func (s *Store) blob(r *blobRecord) Blob {
	return Blob{Digest: r.Digest, Size: r.Size, Promised: r.Promise.Add(-s.options.Skew)}
}

// licensed says whether a record, read at that time, allows an answer now: it
// is promised for three quarters of the grace at least (design 4.2; MODEL,
// holes 2 and 3).
//
// So a record in the cache need not be forgotten when a sweep, here or on
// another server, changes it in the bucket. A sweep condemns only after the
// promise, and no record's promise is ever taken back: while the version in the
// cache is a licence, for 54 h and more to come by a clock that is not off by
// more than Skew, that version or a later, longer promised one is in the bucket,
// and no sweep can have gone past live. When it is no licence any more the
// bucket is asked. The data that a cached record names is there for as long, and
// for Drain after the blob was collected: who began to read with a licence
// reaches the end. A sweep forgets what it has changed all the same, so that the
// next question need not find out that its version is an old one.
func (s *Store) licensed(r *blobRecord, now time.Time) bool {
	if mutant.PromiseNotRenewed.On() {
		return r.State == live && r.Promise.After(now)
	}
	if mutant.CondemnedAnswered.On() && r.State == condemned {
		return true
	}
	return r.State == live && r.Promise.Sub(now) >= s.options.Grace/4*3
}

// promise returns the blob's record, readable and promised. The caller answers
// at once; promise has looked at the clock last.
func (s *Store) promise(ctx context.Context, d digest.Digest, anew bool) (blobRecord, error) {
	if !anew {
		if r, ok := s.cached(d); ok {
			return r, nil
		}
	}
	return s.promiseRead(ctx, d, nil, nil)
}

// promiseLife is promise for a caller whose right to d is a link that was made
// for that life. Errors: errOtherLife, before anything is promised.
func (s *Store) promiseLife(ctx context.Context, d digest.Digest, life *string, early *earlyRead) (blobRecord, error) {
	if early == nil {
		if r, ok := s.cached(d); ok && r.Life == *life {
			return r, nil
		}
	}
	return s.promiseRead(ctx, d, life, early)
}

// cached returns a record from the cache that is a licence to answer.
func (s *Store) cached(d digest.Digest) (blobRecord, bool) {
	c, ok := s.cache.Get(d)
	if !ok {
		return blobRecord{}, false
	}
	now := s.clock.Now()
	age := now.Sub(c.read)
	if mutant.CacheForEver.On() {
		return c.record, true
	}
	return c.record, age >= 0 && age < s.options.RecordCache && s.licensed(&c.record, now)
}

// promiseRead is promise that asks the bucket, or begins with what early has
// read if that is not nil. life is as with promiseLife, or nil.
func (s *Store) promiseRead(ctx context.Context, d digest.Digest, life *string, early *earlyRead) (blobRecord, error) {
	for {
		read := func() (blobRecord, record.Version, time.Time, error) { return s.readBlobRecord(ctx, d) }
		if early != nil {
			read, early = early.wait, nil
		}
		r, v, began, err := read()
		if err != nil {
			return blobRecord{}, err
		}
		if !r.readable() {
			s.cache.Remove(d)
			return blobRecord{}, fail(ErrBlobUnknown, d, "it has been collected, or no copy of it is sound").remedy("push it again")
		}
		if life != nil && r.Life != *life && !mutant.LinkOpensAllLives.On() {
			return blobRecord{}, errOtherLife
		}
		if !s.licensed(&r, s.clock.Now()) {
			r.promise(s.clock.Now().Add(s.options.Grace))
			v, err = record.Replace(ctx, s.records, BlobKey(d), v, &r, time.Time{})
			if errors.Is(err, bucket.ErrPrecondition) {
				continue
			}
			if err != nil {
				return blobRecord{}, err
			}
		}
		s.keep(d, r, v, began)
		if s.licensed(&r, s.clock.Now()) { // else it took too long: start over
			return r, nil
		}
		if err := ctx.Err(); err != nil {
			return blobRecord{}, err
		}
	}
}

// readBlobRecord reads the record of d, whatever its state.
// Errors: ErrBlobUnknown, ErrCorrupt, bucket.ErrUnavailable.
func (s *Store) readBlobRecord(ctx context.Context, d digest.Digest) (blobRecord, record.Version, time.Time, error) {
	began := s.clock.Now()
	r, v, err := record.Read[blobRecord](ctx, s.records, BlobKey(d))
	switch {
	case gone(err):
		return r, v, began, fail(ErrBlobUnknown, d, "not in the store")
	case err != nil:
		return r, v, began, err
	}
	return r, v, began, r.sound(d)
}

func (s *Store) keep(d digest.Digest, r blobRecord, v record.Version, began time.Time) {
	s.cache.Put(d, cachedBlob{r, v, began}, int64(600+len(r.Inline)))
}

// SetVerdict notes what is wrong with the blob as a layer.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) SetVerdict(ctx context.Context, d digest.Digest, verdict Verdict) error {
	began := s.clock.Now()
	r, v, err := record.Update(ctx, s.records, BlobKey(d), time.Time{}, func(r *blobRecord, exists bool) (bool, error) {
		if !exists || r.State == collected {
			return false, fail(ErrBlobUnknown, d, "not in the store")
		}
		if err := r.sound(d); err != nil {
			return false, err
		}
		changed := r.Verdict == nil || *r.Verdict != verdict
		r.Verdict = &verdict
		return changed, nil
	})
	if err == nil {
		s.keep(d, r, v, began)
	}
	return err
}

// VerdictOf returns what SetVerdict has noted, or nil; from the cache if it is
// there. Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) VerdictOf(ctx context.Context, d digest.Digest) (*Verdict, error) {
	if c, ok := s.cache.Get(d); ok && c.record.Verdict != nil {
		return c.record.Verdict, nil
	}
	r, v, began, err := s.readBlobRecord(ctx, d)
	if err != nil {
		return nil, err
	}
	s.keep(d, r, v, began)
	return r.Verdict, nil
}
