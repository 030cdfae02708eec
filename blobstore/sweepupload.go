package blobstore

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// UploadIDs yields the ids of the upload records greater than after, in order:
// one call to the bucket a thousand. Errors: bucket.ErrUnavailable.
func (s *Store) UploadIDs(ctx context.Context, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		start := ""
		if after != "" {
			start = uploadKey(after)
		}
		for info, err := range s.bucket.List(ctx, UploadPrefix, start) {
			if !yield(strings.TrimPrefix(info.Key, UploadPrefix), err) || err != nil {
				return
			}
		}
	}
}

// UploadData returns the data objects that an upload's record names, be they
// there or not; none when there is no such record.
// Errors: record.ErrInvalid, bucket.ErrUnavailable.
func (s *Store) UploadData(ctx context.Context, id string) ([]string, error) {
	r, _, err := record.Read[uploadRecord](ctx, s.records, uploadKey(id))
	if gone(err) {
		return nil, nil
	}
	return r.names(), err
}

// SweepUpload deals with what an upload has left; with dry it only says what it
// would do. An upload that may still be finished is left alone. One that may not
// gives back its parts, and when its data is so old that it is nobody's, unless a
// blob's record names it, that too; the record goes last.
//
// Errors: record.ErrInvalid, bucket.ErrUnavailable, after which some of that may
// have been done. The next sweep goes on.
func (s *Store) SweepUpload(ctx context.Context, id string, dry bool) (UploadJudgement, error) {
	j := UploadJudgement{ID: id}
	started, err := idTime(id)
	if err != nil {
		j.State, j.Why = UploadOpen, "no upload has such an id: it is somebody else's"
		return j, nil
	}
	r, v, err := record.Read[uploadRecord](ctx, s.records, uploadKey(id))
	if gone(err) {
		j.State, j.Why = UploadEnded, "there is no record of it any more"
		return j, nil
	}
	if err != nil {
		return j, err
	}
	j.Repository = string(r.Repository)
	over := r.Aborted || r.Ended
	if expires := started.Add(s.options.PublishWithin + 2*s.options.Skew); !s.clock.Now().After(expires) {
		j.State, j.Next, j.Why = UploadOpen, expires, "it may still be finished"
		if over {
			j.State, j.Next, j.Why = UploadExpired, s.orphaned(id, r.names()), "it has ended, and what it has left may not be deleted yet"
			j.Waiting = tailSize(r.Tail) + tailSize(r.Left)
		}
		return j, nil
	}
	j.Why = "nobody has finished it in time"
	if over {
		j.Why = "it has ended"
	}
	w := &uploadSweep{s: s, dry: dry, j: &j, r: r}
	if !r.Aborted && !dry {
		// No server goes on with it after this, nor says which blob its parts make.
		if w.r, v, err = s.abortExpired(ctx, id); gone(err) {
			j.State = UploadEnded
			return j, nil
		}
	}
	sweepExpired.Hit()
	if err == nil {
		err = w.multiparts(ctx)
	}
	if err == nil {
		err = w.data(ctx)
	}
	if err != nil {
		return j, err
	}
	if w.waits {
		return j, nil
	}
	j.State = UploadEnded
	if w.freed {
		j.State = UploadOrphan
	}
	if dry {
		return j, nil
	}
	sweepCleared.Hit()
	return j, s.forgetUpload(ctx, id, v)
}

// orphaned is when the last of these names, and of the upload's, is old enough.
func (s *Store) orphaned(id string, names []dataID) time.Time {
	var last time.Time
	for _, id := range append(names, id) {
		if t, err := idTime(id); err == nil && t.After(last) {
			last = t
		}
	}
	return last.Add(s.orphanAge())
}

func (s *Store) abortExpired(ctx context.Context, id string) (uploadRecord, record.Version, error) {
	return record.Update(ctx, s.records, uploadKey(id), time.Time{}, func(r *uploadRecord, exists bool) (bool, error) {
		if !exists {
			return false, bucket.ErrNotExist
		}
		changed := !r.Aborted
		r.Aborted = true
		return changed, nil
	})
}

// forgetUpload deletes the record of an upload. Nobody makes another one of that
// id, so it matters little if the bucket cannot compare.
func (s *Store) forgetUpload(ctx context.Context, id string, v record.Version) error {
	d, ok := s.bucket.(bucket.ConditionalDeleter)
	if !ok {
		return s.bucket.Delete(ctx, uploadKey(id))
	}
	err := d.DeleteIf(ctx, uploadKey(id), v.ETag)
	if errors.Is(err, bucket.ErrPrecondition) {
		return nil // the next sweep looks at what it is now
	}
	return err
}

// An uploadSweep is one SweepUpload of an upload that can no longer be finished.
type uploadSweep struct {
	s   *Store
	dry bool
	j   *UploadJudgement
	r   uploadRecord

	waits bool // something is not old enough yet, and the record leads to it
	freed bool // some of its data was nobody's
}

// multiparts gives up the bucket's uploads to the data that the parts make: what
// the record names, and what was made when there was no time to note it.
func (w *uploadSweep) multiparts(ctx context.Context) error {
	if w.r.Data == "" {
		return nil
	}
	found := 0
	for up, err := range w.s.bucket.ListMultiparts(ctx, dataKey(w.r.Data)) {
		if err == nil && !w.dry {
			err = w.s.bucket.AbortMultipart(ctx, dataKey(w.r.Data), up.ID)
		}
		if err != nil {
			return err
		}
		found++
	}
	if found > 0 {
		for _, p := range w.r.Parts {
			w.j.Freed += p.Size
		}
		w.freed = true
	}
	return nil
}

// data deals with all data that the upload names.
func (w *uploadSweep) data(ctx context.Context) error {
	for _, id := range w.r.names() {
		of := digestOf(hashed)
		if id == w.r.Data && w.r.Digest != "" {
			of = known(w.r.Digest)
		}
		j, err := w.s.sweepData(ctx, id, of, w.dry)
		if err != nil {
			return err
		}
		w.j.Freed += j.Freed
		w.j.Waiting += j.Waiting
		switch {
		case j.Step == Freed:
			w.freed = true
		case j.Next.IsZero():
		default: // the record leads to it until then
			w.waits = true
			w.j.State = UploadExpired
			if w.j.Next.Before(j.Next) {
				w.j.Next = j.Next
			}
		}
	}
	return nil
}
