package blobstore

import (
	"context"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// maxSessions bounds the uploads whose state is kept in memory; any other is
// read from its record again.
const maxSessions = 4096

// A session is what this process knows of an unfinished upload. What the bucket
// has may be newer, when another server went on with it: every write is
// conditional, and finds out.
type session struct {
	id    string
	turn  chan struct{} // holds one element while nobody works on the session
	ended bool
	// over is ended for who has not the turn.
	over atomic.Bool

	record  uploadRecord // Hash in it may be behind hash
	version record.Version
	hash    hash.Hash
	// tags are the voucher's, of the parts that this process has sent; parts
	// that another has sent are not among them.
	tags [][]byte

	// shared says that another process has worked on the upload, or may have;
	// doubt that something was written, or may have been, that the record will
	// not say is in use. nextTried is that for the name in record.Next.
	shared, doubt, nextTried bool
}

func newSession(id string) *session {
	ss := &session{id: id, turn: make(chan struct{}, 1)}
	ss.turn <- struct{}{}
	return ss
}

// busyWait is how long a request waits for another one of the same upload,
// which may still be storing what came before its connection broke.
const busyWait = 30 * time.Second

// lock waits for the session's turn. Errors: ErrUploadBusy, ErrUploadUnknown
// when it has ended meanwhile, ctx's.
func (s *Store) lock(ctx context.Context, ss *session) error {
	select {
	case <-ss.turn:
	default:
		t := time.NewTimer(busyWait)
		defer t.Stop()
		select {
		case <-ss.turn:
		case <-t.C:
			return fail(ErrUploadBusy, ss.id, "another request writes to it").remedy("try again when that has ended")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if ss.ended {
		ss.turn <- struct{}{}
		return unknownUpload(ss.id)
	}
	if err := s.expired(ss); err != nil {
		ss.turn <- struct{}{}
		return err
	}
	return nil
}

func (ss *session) unlock() { ss.turn <- struct{}{} }

func unknownUpload(id string) *Error {
	return fail(ErrUploadUnknown, id, "it has ended, was given up, or never began").remedy("start a new one")
}

func (s *Store) expired(ss *session) error {
	t, err := s.deadline(ss.id)
	if err != nil || s.clock.Now().After(t) {
		return s.tooOld(ss)
	}
	return nil
}

func (s *Store) tooOld(ss *session) error {
	return fail(ErrUploadUnknown, ss.id, "it is older than %v", s.options.PublishWithin).remedy("start a new one")
}

// end forgets the upload. What it has left goes with the next reaping, and its
// record after that.
func (s *Store) end(ss *session, l leftover) {
	ss.ended = true
	ss.over.Store(true)
	ss.hash, ss.record, ss.tags = nil, uploadRecord{}, nil
	s.reaper.add(l)
}

// load reads the session from the bucket, if that knows more than it.
// Errors: ErrUploadUnknown, bucket.ErrUnavailable.
func (s *Store) load(ctx context.Context, ss *session) error {
	r, v, err := record.Read[uploadRecord](ctx, s.records, uploadKey(ss.id))
	if gone(err) || err == nil && (r.Aborted || r.Ended) {
		ss.ended = true
		ss.over.Store(true)
		return unknownUpload(ss.id)
	}
	if err != nil {
		return err
	}
	if v == ss.version && !ss.record.untouched() {
		return nil // nobody has been here since
	}
	h, err := loadHash(r.Algorithm, r.Hash)
	if err != nil {
		return err
	}
	shared := v != ss.version
	if r.untouched() {
		info, err := s.bucket.Stat(ctx, dataKey(r.First))
		if err == nil {
			first := piece{Data: r.First, Size: info.Size, Alone: true}
			crc := crc32.New(castagnoli)
			if err := s.hashData(ctx, r.First, io.MultiWriter(h, crc)); err != nil {
				return err
			}
			first.Check = uint64(crc.Sum32()) + 1 // of what was hashed
			r.Tail, r.Offset, shared = []piece{first}, first.Size, true
		} else if !gone(err) {
			return err
		}
	}
	ss.record, ss.version, ss.hash, ss.tags = r, v, h, nil
	if shared {
		ss.shared, ss.nextTried = true, false
	}
	return nil
}

// save writes r as the session's record, with a new name for the next piece if
// that in r is taken: a name stays in the record for good once something may be
// there. Errors: bucket.ErrPrecondition when another server has gone on with the
// upload, or ended it: the session is stale then.
func (s *Store) save(ctx context.Context, ss *session, r uploadRecord) error {
	r.Parts, r.Tail, r.Left = slices.Clone(r.Parts), slices.Clone(r.Tail), slices.Clone(r.Left)
	if slices.ContainsFunc(slices.Concat(r.Tail, r.Left), func(p piece) bool { return p.Data == r.Next }) {
		r.Next = ""
	}
	next := r.Next == ""
	if next {
		r.Next = s.NewID()
	}
	deadline, err := s.deadline(ss.id)
	if err != nil {
		return err
	}
	v, err := record.Replace(ctx, s.records, uploadKey(ss.id), ss.version, &r, deadline)
	if errors.Is(err, bucket.ErrTooLate) {
		return s.tooOld(ss)
	}
	if err != nil {
		return err
	}
	ss.record, ss.version = r, v
	if next {
		ss.nextTried = false
	}
	s.deleteLeft(ctx, ss)
	return nil
}

// maxLeft is how many pieces an upload leaves before they are deleted.
const maxLeft = 64

// deleteLeft deletes what the upload has left when that is much. The record
// names it until it is written the next time.
func (s *Store) deleteLeft(ctx context.Context, ss *session) {
	ids, _ := deletable(ss.record.Left)
	if len(ids) < maxLeft {
		return
	}
	if err := s.deleteData(ctx, ids); err != nil {
		s.log.Warn("pieces of an upload stay until it ends", "upload", ss.id, "error", err)
		return
	}
	ss.record.Left = slices.DeleteFunc(ss.record.Left, func(p piece) bool { return !p.Alone })
}
