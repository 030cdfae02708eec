package blobstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/record"
)

// Judge takes the next step for a blob that a mark, begun at that time, did not
// reach; with dry it only says which. The caller's mark has ended: the record is
// read now, and changed only if nobody changes it meanwhile.
//
// Any number of collectors may judge the same blob at once, with marks of any
// age. Each step looks at when this mark began, and not at who took the step
// before: condemned is only what no promise held any more when the mark began,
// and gone only what was condemned then. So a blob that is named between two
// marks is either seen by the second or was promised, and its promise revives
// what is condemned (design 4.4; MODEL, hole 1).
//
// Errors: ErrCorrupt when the record is another blob's; record.ErrInvalid;
// bucket.ErrUnavailable, after which the step may or may not have been taken.
func (s *Store) Judge(ctx context.Context, d digest.Digest, began time.Time, dry bool) (Judgement, error) {
	r, v, err := record.Read[blobRecord](ctx, s.records, BlobKey(d))
	if gone(err) {
		return Judgement{Digest: d, Step: Kept, Gone: true, Why: "there is no record of it any more"}, nil
	}
	if err == nil && r.Digest != d {
		err = fail(ErrCorrupt, d, "its record is of %s", r.Digest).remedy("move the object " + BlobKey(d) + " away")
	}
	if err != nil {
		return Judgement{Digest: d, Step: Kept}, err
	}
	now := s.clock.Now()
	if mutant.MarksEnd.On() {
		began = now
	}
	j := s.weigh(&r, began, now)
	if mutant.OneStep.On() && j.Step == Condemned {
		j.Step = Collected
	}
	if dry {
		return j, nil
	}
	switch j.Step {
	case Condemned:
		r.State, r.Condemned = condemned, now.UTC()
	case Collected:
		r.State, r.Gone, r.Inline, r.Origins = collected, now.UTC(), nil, nil
	case Freed:
		return j, s.free(ctx, r, v)
	case Removed:
		err = s.removeTombstone(ctx, BlobKey(d), v)
		if sweepForgotten.Hit(); err == nil {
			s.cache.Remove(d)
			return j, nil
		}
	default:
		return j, nil
	}
	if err == nil {
		// The record is to say when it took its state, and not much earlier: a
		// mark that begins between the two would go by it.
		_, err = record.Replace(ctx, s.records, BlobKey(d), v, &r, now.Add(s.options.Skew))
		sweepJudged.Hit()
		s.cache.Remove(d)
	}
	if errors.Is(err, bucket.ErrTooLate) {
		return Judgement{Digest: d, Size: r.Size, Step: Kept, Waiting: j.Waiting, Why: "the bucket took too long; the next collection goes on"}, nil
	}
	if errors.Is(err, bucket.ErrPrecondition) && mutant.BlindSweep.On() {
		if _, v, err = record.Read[blobRecord](ctx, s.records, BlobKey(d)); err == nil {
			_, err = record.Replace(ctx, s.records, BlobKey(d), v, &r, time.Time{})
		}
	}
	if errors.Is(err, bucket.ErrPrecondition) {
		return Judgement{Digest: d, Size: r.Size, Step: Kept, Waiting: j.Waiting, Why: "somebody was told of it, or uploaded it, at this moment"}, nil
	}
	return j, err
}

// weigh says which step is next for r.
func (s *Store) weigh(r *blobRecord, began, now time.Time) Judgement {
	o := s.options
	j := Judgement{Digest: r.Digest, Size: r.Size, Step: Kept, Waiting: r.stored(), Gone: r.State == collected}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case r.State == live && !r.Promise.Before(began) && !mutant.PromiseIgnored.On():
		j.Why, j.Next = "nothing names it, but it is promised until "+at(r.Promise), r.Promise
	case r.State == live:
		j.Step, j.Next = Condemned, now.Add(2*o.Skew)
		j.Why = "nothing names it, and the last promise ended at " + at(r.Promise)
	case r.State == condemned && !r.Condemned.Add(s.condemnedMargin()).Before(began): // the clock that wrote it may be ahead of ours
		j.Why, j.Next = "condemned at "+at(r.Condemned)+", and this collection began too soon after that", r.Condemned.Add(2*o.Skew)
	case r.State == condemned:
		j.Step, j.Gone, j.Next = Collected, true, now.Add(o.Drain)
		j.Why = "nothing names it, nor has anybody asked for it since it was condemned at " + at(r.Condemned)
		j.Freed, j.Waiting = int64(len(r.Inline)), r.stored()-int64(len(r.Inline))
	case len(r.doomed()) > 0 && now.Before(r.Gone.Add(o.Drain)) && !mutant.NoDrain.On():
		j.Step, j.Next = Draining, r.Gone.Add(o.Drain)
		j.Why = "collected at " + at(r.Gone) + ": who still reads it has time to end"
	case len(r.doomed()) > 0:
		j.Step, j.Freed, j.Waiting = Freed, j.Waiting, 0
		j.Why = "collected at " + at(r.Gone)
		if age, ok := s.TombstoneAge(); ok {
			j.Next = r.Gone.Add(age)
		}
	default:
		s.weighTombstone(&j, r.Gone, now)
	}
	return j
}

func (s *Store) weighTombstone(j *Judgement, since, now time.Time) {
	age, ok := s.TombstoneAge()
	switch {
	case !ok:
		j.Why = "a tombstone, which stays: the bucket does not delete conditionally, or takes late writes"
	case now.Sub(since) <= age:
		j.Next = since.Add(age)
		j.Why = "a tombstone, which a write that is still on its way must meet"
	default:
		j.Step, j.Why = Removed, fmt.Sprintf("a tombstone, older than %v", age)
	}
}

// condemnedMargin is how long before a mark a blob must have been condemned for
// the mark to have begun after that by every clock.
func (s *Store) condemnedMargin() time.Duration {
	if mutant.NoSkewMargin.On() {
		return 0
	}
	return 2 * s.options.Skew
}

// doomed is the data that goes with a record that is gone.
func (r *blobRecord) doomed() []dataID { return slices.Concat(r.Copies, r.Bad, r.Drop) }

// free deletes the data of a record whose time has come, and then has the record
// name it no more. Whatever becomes of the record meanwhile, that data is
// nobody's: its names are too old to be published, and an upload that makes the
// blob live again puts them into Drop.
func (s *Store) free(ctx context.Context, r blobRecord, v record.Version) error {
	d := r.Digest
	ids := r.Drop
	if r.State == collected {
		ids = r.doomed()
		r.Copies, r.Bad = nil, nil
	}
	if err := s.deleteData(ctx, ids); err != nil {
		return err
	}
	sweepDeleted.Hit()
	r.Drop, r.DropAfter = nil, time.Time{}
	_, err := record.Replace(ctx, s.records, BlobKey(d), v, &r, time.Time{})
	s.cache.Remove(d)
	if errors.Is(err, bucket.ErrPrecondition) {
		return nil // the next sweep comes to what it is now
	}
	return err
}

func (s *Store) deleteData(ctx context.Context, ids []dataID) error {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = dataKey(id)
	}
	return s.bucket.Delete(ctx, keys...)
}

// FreeDropped deletes the data that an earlier life of the blob has left, if its
// time has come; with dry it only says so. The blob may be live, and named: this
// is what a sweep does for it all the same. Judge does it for what is gone.
// Errors: bucket.ErrUnavailable.
func (s *Store) FreeDropped(ctx context.Context, d digest.Digest, dry bool) (Judgement, error) {
	r, v, err := record.Read[blobRecord](ctx, s.records, BlobKey(d))
	j := Judgement{Digest: d, Size: r.Size, Step: Kept, Gone: r.State == collected}
	if gone(err) {
		j.Why = "there is no record of it any more"
		return j, nil
	}
	if err == nil && r.Digest != d {
		err = fail(ErrCorrupt, d, "its record is of %s", r.Digest)
	}
	n := r.Size * int64(len(r.Drop))
	switch {
	case err != nil:
		return j, err
	case len(r.Drop) == 0:
		j.Why = "there is nothing to be dropped"
		return j, nil
	case r.State == collected:
		j.Why, j.Waiting = "it goes with the rest of the blob", n
		return j, nil
	case s.clock.Now().Before(r.DropAfter):
		j.Step, j.Waiting, j.Next = Draining, n, r.DropAfter
		j.Why = "it was collected and uploaded again: who still reads what was there before has time to end"
		return j, nil
	}
	j.Step, j.Freed, j.Why = Freed, n, "it was collected and uploaded again"
	if dry {
		return j, nil
	}
	return j, s.free(ctx, r, v)
}

// Revive takes a condemned blob back to live, and says whether it did. That is
// no promise: the next mark that does not reach it condemns it again.
// Errors: ErrBlobUnknown when it is gone or was never here, bucket.ErrUnavailable.
func (s *Store) Revive(ctx context.Context, d digest.Digest) (bool, error) {
	revived := false
	_, _, err := record.Update(ctx, s.records, BlobKey(d), time.Time{}, func(r *blobRecord, exists bool) (bool, error) {
		if revived = exists && r.State == condemned; revived {
			r.State, r.Condemned = live, time.Time{}
		}
		if !exists || r.State == collected {
			return false, fail(ErrBlobUnknown, d, "it has been collected")
		}
		return revived, nil
	})
	if revived {
		s.cache.Remove(d)
	}
	return revived && err == nil, err
}

// TombstoneAge is how old a tombstone must be to be removed, and false where
// tombstones stay. While a write may still be on its way that would create the
// record anew, the tombstone must be there to stop it (MODEL, hole 9): so they
// are removed only where such writes are refused after a while, and where
// nothing but the tombstone itself can be deleted.
func (s *Store) TombstoneAge() (time.Duration, bool) {
	_, deletes := s.bucket.(bucket.ConditionalDeleter)
	return s.orphanAge(), deletes && (s.bucket.Features().RefusesLateWrites || mutant.TombstonesGo.On())
}

// orphanAge is the age at which data that no record names is nobody's: what can
// no longer be published, and cannot have been read since.
func (s *Store) orphanAge() time.Duration {
	o := s.options
	return o.PublishWithin + o.Grace + o.Drain + 2*o.Skew
}

// removeTombstone removes the record at key if it is at that version.
// Errors: bucket.ErrPrecondition, bucket.ErrUnavailable.
func (s *Store) removeTombstone(ctx context.Context, key string, v record.Version) error {
	if mutant.BlindTombstone.On() {
		return s.bucket.Delete(ctx, key)
	}
	return s.bucket.(bucket.ConditionalDeleter).DeleteIf(ctx, key, v.ETag)
}
