package blobstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// publish makes what was made the blob d, promises it, makes repo hold it, and
// tells who wants to know. certain says that the blob's record names the data
// that was made and has nothing to be dropped: no sweep need be led to it.
func (s *Store) publish(ctx context.Context, repo reference.Repository, d digest.Digest, m made) (_ Blob, certain bool, _ error) {
	r, err := s.publishRecord(ctx, repo, d, m)
	if err != nil {
		return Blob{}, false, err
	}
	blobRecorded.Hit()
	b, err := s.hold(ctx, repo, d)
	blobLinked.Hit()
	if err == nil {
		s.published(Published{Digest: d, Size: m.size, Bytes: m.bytes})
	}
	return b, r.settled(m), err
}

// settled says that there is nothing of what was made, and of what was there
// before, that the record does not keep.
func (r *blobRecord) settled(m made) bool {
	return len(r.Drop) == 0 && (m.data == "" || slices.Contains(r.Copies, m.data))
}

// publishRecord writes the blob's record, with repo ("" for none) among its
// origins, and returns what it is then. When there is one already that can be
// read from, ours is not needed: its data stays for the sweep, since nobody
// deletes data after a write whose outcome was unclear (MODEL, hole 8).
func (s *Store) publishRecord(ctx context.Context, repo reference.Repository, d digest.Digest, m made) (blobRecord, error) {
	deadline := s.clock.Now().Add(inlineWithin)
	if m.data != "" {
		var err error
		if deadline, err = s.deadline(m.data); err != nil {
			return blobRecord{}, err
		}
	}
	var (
		r      blobRecord
		exists bool
		old    record.Version
	)
	for {
		// The clock is looked at after the record was read: whatever was barred
		// and is no longer named as such is too old by now.
		now := s.clock.Now()
		if now.After(deadline) && !mutant.BarsIgnored.On() {
			return r, fail(ErrUploadUnknown, d, "its data is older than %v", s.options.PublishWithin).remedy("upload it again")
		}
		switch {
		case r.refuses(m):
			return r, fail(ErrUploadUnknown, d, "its data has been collected").remedy("upload it again")
		case exists && r.readable() && r.Size == m.size:
			if s.licensed(&r, now) {
				s.keep(d, r, old, now)
				return r, nil
			}
		default:
			r.renew(d, m, s.options.Drain)
		}
		r.addOrigin(repo)
		r.promise(now.Add(s.options.Grace))
		if err := r.sound(d); err != nil {
			return r, err
		}
		v, err := record.Replace(ctx, s.records, BlobKey(d), old, &r, deadline)
		if err == nil {
			s.keep(d, r, v, now)
			return r, nil
		}
		if mutant.OwnDataDeleted.On() && m.data != "" {
			_ = s.deleteData(ctx, []dataID{m.data})
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return r, err
		}
		r, old, err = record.Read[blobRecord](ctx, s.records, BlobKey(d))
		if exists = err == nil; !exists {
			if !gone(err) {
				return r, err
			}
			r, old = blobRecord{}, record.Version{}
		} else if r.sound(d) != nil { // this upload mends it
			r.Inline, r.Digest = nil, d
		}
	}
}

// inlineWithin is how long a request may take to store a blob that is kept in
// its record, whose name tells no age.
const inlineWithin = time.Hour

// refuses says that what was made must not be published: a collector deletes
// it, or it was found to be damaged.
func (r *blobRecord) refuses(m made) bool {
	if mutant.BarsIgnored.On() {
		return false
	}
	return m.data != "" && (slices.Contains(r.Barred, m.data) || slices.Contains(r.Drop, m.data) ||
		slices.Contains(r.Bad, m.data) || r.State == collected && slices.Contains(r.Copies, m.data))
}

// renew makes r a record of what was made, in place of what it had. That is
// kept in Drop for as long as somebody may read it who found it in time: for
// drain since the blob was collected.
func (r *blobRecord) renew(d digest.Digest, m made, drain time.Duration) {
	r.Digest = d
	if r.State == collected || r.State == "" { // one of a new life
		r.Life = rand.Text()[:16]
		if len(r.Copies)+len(r.Bad) > 0 {
			r.Drop = slices.Concat(r.Drop, r.Copies, r.Bad)
			r.Copies, r.Bad = nil, nil
			r.DropAfter = r.Gone.Add(drain)
		}
	}
	if r.Size != m.size { // what has another size has another digest
		r.Bad, r.Copies = append(r.Bad, r.Copies...), nil
	}
	r.Size, r.Inline = m.size, m.inline
	if m.data != "" {
		r.Copies = append(r.Copies, m.data)
	}
}
