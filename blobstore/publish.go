package blobstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// publish makes what was made the blob d, promises it, makes repo hold it, and
// tells who wants to know.
func (s *Store) publish(ctx context.Context, repo reference.Repository, d digest.Digest, m made) (Blob, error) {
	if err := s.publishRecord(ctx, repo, d, m); err != nil {
		return Blob{}, err
	}
	blobRecorded.Hit()
	b, err := s.hold(ctx, repo, d)
	blobLinked.Hit()
	if err == nil {
		s.published(Published{Digest: d, Size: m.size, Bytes: m.bytes})
	}
	return b, err
}

// publishRecord writes the blob's record, with repo ("" for none) among its
// origins. When there is one already that can be
// read from, ours is not needed: its data stays for the sweep, since nobody
// deletes data after a write whose outcome was unclear (MODEL, hole 8).
func (s *Store) publishRecord(ctx context.Context, repo reference.Repository, d digest.Digest, m made) error {
	deadline := s.clock.Now().Add(time.Hour)
	if m.data != "" {
		var err error
		if deadline, err = s.deadline(m.data); err != nil {
			return err
		}
	}
	var (
		r      blobRecord
		exists bool
		old    record.Version
	)
	for {
		now := s.clock.Now()
		if now.After(deadline) {
			return fail(ErrUploadUnknown, d, "its data is older than %v", s.options.PublishWithin).remedy("upload it again")
		}
		switch {
		case r.refuses(m):
			return fail(ErrUploadUnknown, d, "its data has been collected").remedy("upload it again")
		case exists && r.readable() && r.Size == m.size:
			if s.licensed(&r, now) {
				s.keep(d, r, old, now)
				return nil
			}
		default:
			r.renew(d, m)
		}
		r.addOrigin(repo)
		r.promise(now.Add(s.options.Grace))
		if err := r.sound(d); err != nil {
			return err
		}
		v, err := record.Replace(ctx, s.records, BlobKey(d), old, &r, deadline)
		if err == nil {
			s.keep(d, r, v, now)
			return nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return err
		}
		r, old, err = record.Read[blobRecord](ctx, s.records, BlobKey(d))
		if exists = err == nil; !exists {
			if !gone(err) {
				return err
			}
			r, old = blobRecord{}, record.Version{}
		} else if r.sound(d) != nil { // this upload mends it
			r.Inline, r.Digest = nil, d
		}
	}
}

// refuses says that what was made must not be published: a collector deletes it.
func (r *blobRecord) refuses(m made) bool {
	return m.data != "" && (slices.Contains(r.Barred, m.data) || slices.Contains(r.Drop, m.data) ||
		r.State == collected && slices.Contains(r.Copies, m.data))
}

// renew makes r a record of what was made, in place of what it had, which is
// dropped with the next tombstone.
func (r *blobRecord) renew(d digest.Digest, m made) {
	r.Digest, r.Size = d, m.size
	if r.State == collected {
		r.Drop = append(r.Drop, r.Copies...)
		r.Copies = nil
	}
	if m.data != "" {
		r.Inline, r.Copies = nil, append(r.Copies, m.data)
	} else {
		r.Inline, r.Copies = m.inline, nil
	}
}
