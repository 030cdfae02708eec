package blobstore

import (
	"context"
	"errors"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/record"
)

// SweepData deals with a data object that no record is known to name; with dry it
// only says what it would do. When it is old enough it is read, since its digest
// is what leads to the record that may name it after all. If none does, its name
// is barred in the record, so that nobody who is slow can publish it, and then it
// is deleted (design 4.4; MODEL, holes 8 and 9).
// Errors: record.ErrInvalid, bucket.ErrUnavailable.
func (s *Store) SweepData(ctx context.Context, id string, dry bool) (DataJudgement, error) {
	return s.sweepData(ctx, id, hashed, dry)
}

// digestOf finds out which blobs' records may name a data object.
type digestOf func(ctx context.Context, s *Store, id dataID) ([]digest.Digest, error)

// known is for data that can be of one blob only.
func known(d digest.Digest) digestOf {
	return func(context.Context, *Store, dataID) ([]digest.Digest, error) { return []digest.Digest{d}, nil }
}

// hashed reads the data. Errors: bucket.ErrNotExist, bucket.ErrUnavailable.
func hashed(ctx context.Context, s *Store, id dataID) ([]digest.Digest, error) {
	src, _, err := s.bucket.Get(ctx, dataKey(id), 0, -1)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	algorithms := []digest.Algorithm{digest.SHA256, digest.SHA512}
	hashes := make([]hash.Hash, len(algorithms))
	writers := make([]io.Writer, len(algorithms))
	for i, alg := range algorithms {
		hashes[i] = alg.Hash()
		writers[i] = hashes[i]
	}
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	if _, err := io.CopyBuffer(onlyWriter{io.MultiWriter(writers...)}, onlyReader{src}, buf[:]); err != nil {
		return nil, err
	}
	var ds []digest.Digest
	for i, alg := range algorithms {
		ds = append(ds, sum(alg, hashes[i]))
	}
	return ds, nil
}

func (s *Store) sweepData(ctx context.Context, id dataID, of digestOf, dry bool) (DataJudgement, error) {
	j := DataJudgement{ID: id, Step: Kept}
	made, err := idTime(id)
	if err != nil {
		j.Why = "no data has such a name: it is somebody else's"
		return j, nil
	}
	info, err := s.bucket.Stat(ctx, dataKey(id))
	if gone(err) {
		j.Why = "it is not there"
		return j, nil
	}
	if err != nil {
		return j, err
	}
	if old := made.Add(s.orphanAge()); !s.clock.Now().After(old) {
		j.Step, j.Next, j.Waiting = Draining, old, info.Size
		j.Why = "it may be published, or have been read, until it is old enough"
		return j, nil
	}
	digests, err := of(ctx, s, id)
	if gone(err) {
		j.Why = "it is not there any more"
		return j, nil
	}
	if err != nil {
		return j, err
	}
	for _, d := range digests {
		named, err := s.named(ctx, &j, d, dry)
		if named || err != nil {
			return j, err
		}
	}
	j.Step, j.Freed, j.Why = Freed, info.Size, "no record names it"
	if dry {
		return j, nil
	}
	for _, d := range digests {
		if mutant.OrphanNotBarred.On() {
			break
		}
		if named, err := s.bar(ctx, d, id); named || err != nil {
			j.Step, j.Freed, j.Digest, j.Why = Kept, 0, d, "it has just been published"
			return j, err
		}
	}
	sweepBarred.Hit()
	return j, s.deleteData(ctx, []dataID{id})
}

// named says whether the record of d names the data, and deletes what that has
// from an earlier life: who leads here may be the only one that does.
func (s *Store) named(ctx context.Context, j *DataJudgement, d digest.Digest, dry bool) (bool, error) {
	r, _, err := record.Read[blobRecord](ctx, s.records, BlobKey(d))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !r.names(j.ID) {
		return false, s.lead(ctx, j, &r, d, dry)
	}
	j.Digest, j.Why = d, "the record of "+d.String()+" names it"
	return true, s.lead(ctx, j, &r, d, dry)
}

// lead is FreeDropped for a record that has been met on the way.
func (s *Store) lead(ctx context.Context, j *DataJudgement, r *blobRecord, d digest.Digest, dry bool) error {
	if len(r.Drop) == 0 {
		return nil
	}
	dropped, err := s.FreeDropped(ctx, d, dry)
	if err != nil {
		return err
	}
	j.Freed += dropped.Freed
	j.Waiting += dropped.Waiting
	if dropped.Next.After(j.Next) {
		j.Next = dropped.Next
	}
	return nil
}

// bar has the record of d say that the data is nobody's, unless it names it. From
// then on no publisher's write that began before can land, since the record has
// changed; and one that begins now finds the name barred. Where there is no record
// a tombstone does that, but for buckets that refuse late writes: to publish data
// of that age is one. Errors: record.ErrInvalid, bucket.ErrUnavailable.
func (s *Store) bar(ctx context.Context, d digest.Digest, id dataID) (named bool, err error) {
	refuses := s.bucket.Features().RefusesLateWrites
	_, _, err = record.Update(ctx, s.records, BlobKey(d), time.Time{}, func(r *blobRecord, exists bool) (bool, error) {
		if named = r.names(id); named || slices.Contains(r.Barred, id) || !exists && refuses {
			return false, nil
		}
		if !exists {
			r.Digest, r.State, r.Gone = d, collected, s.clock.Now().UTC()
		}
		r.Barred = append(r.Barred, id)
		r.Barred = r.Barred[max(0, len(r.Barred)-maxBarred):]
		return true, nil
	})
	if errors.Is(err, bucket.ErrPrecondition) {
		return true, nil // so many change it that it is not for us to say
	}
	s.cache.Remove(d)
	return named, err
}
