package blobstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Finish stores what r delivers at offset off (-1: where the upload is; r may
// be nil) like Append, and then ends the upload: the whole must have digest d,
// and is a blob of the upload's repository when Finish returns.
//
// Errors: as Append, and ErrDigestMismatch, ErrSizeMismatch, after which the
// upload is gone. After any other error the upload is still there, and Finish
// may be called again, on any server.
func (u *Upload) Finish(ctx context.Context, off int64, r io.Reader, d digest.Digest) (Blob, error) {
	s, ss := u.store, u.session
	if err := s.lock(ctx, ss); err != nil {
		return Blob{}, err
	}
	defer ss.unlock()
	if err := u.at(ctx, off); err != nil {
		return Blob{}, err
	}
	b, err := u.finish(ctx, r, d)
	if errors.Is(err, bucket.ErrPrecondition) {
		err = u.overtaken(ctx)
	}
	err = u.vanished(ctx, err)
	u.doubt(err)
	if errors.Is(err, ErrDigestMismatch) || errors.Is(err, ErrSizeMismatch) {
		if aerr := s.abort(context.WithoutCancel(ctx), ss); aerr != nil {
			s.log.Warn("an upload that failed stays until the next collection", "upload", ss.id, "error", aerr)
		}
	}
	return b, err
}

// Commit is Finish without further bytes.
func (u *Upload) Commit(ctx context.Context, d digest.Digest) (Blob, error) {
	return u.Finish(ctx, -1, nil, d)
}

func (u *Upload) finish(ctx context.Context, r io.Reader, d digest.Digest) (Blob, error) {
	s, ss := u.store, u.session
	a, err := newAppender(s, ss)
	if err != nil {
		return Blob{}, err
	}
	defer func() { a.close() }()
	if err = a.readFrom(ctx, r); err == nil {
		err = errors.Join(a.sendLast(ctx, d), a.settle(), a.endParts(ctx))
	}
	if err == nil && a.nothingNew() && (d.Algorithm() != a.record.Algorithm || sum(a.record.Algorithm, ss.hash) != d) {
		// Another server may have what is missing.
		if err = s.load(ctx, ss); err != nil {
			return Blob{}, err
		}
		a.close()
		if a, err = newAppender(s, ss); err != nil {
			return Blob{}, err
		}
	}
	var b Blob
	if err == nil {
		b, err = a.publish(ctx, d)
	}
	if err != nil && !ss.ended {
		err = errors.Join(err, a.store(ctx, err))
	}
	return b, err
}

// sendLast sends what is left as the last part, while earlier ones are on their
// way, if it is certain that nothing comes after it: all of d is here.
func (a *appender) sendLast(ctx context.Context, d digest.Digest) error {
	if len(a.record.Parts)+len(a.sent) == 0 || a.waiting() == 0 || d.Algorithm() != a.record.Algorithm || sum(a.record.Algorithm, a.ss.hash) != d {
		return nil
	}
	if total := a.total(); a.record.Size > 0 && total != a.record.Size {
		return nil // publish says so
	}
	if a.spool != nil {
		return a.spoolLast(ctx)
	}
	if a.part == nil {
		if err := a.takePart(ctx); err != nil {
			return err
		}
	}
	return a.ship(ctx)
}

// spoolLast is sendLast for a spool that has parts already.
func (a *appender) spoolLast(ctx context.Context) error {
	if a.n > 0 {
		if err := a.pourChunk(); err != nil {
			return err
		}
	}
	err := a.spoolParts(ctx, true)
	if err == nil {
		a.dropSpool()
	}
	return err
}

// endParts ends a spool of parts that sendLast has left.
func (a *appender) endParts(ctx context.Context) error {
	if a.record.Multipart == "" {
		return nil
	}
	return a.partition(ctx, true)
}

// total is how many bytes have come, in bytes.
func (a *appender) total() int64 {
	n := a.record.Offset + a.waiting()
	for _, p := range a.sent {
		n += p.bytes
	}
	return n
}

// nothingNew says that no bytes came since the record was written.
func (a *appender) nothingNew() bool {
	return a.waiting() == 0 && a.record.Offset == a.ss.record.Offset
}

// publish checks what has come, makes it a blob, and ends the upload.
func (a *appender) publish(ctx context.Context, d digest.Digest) (Blob, error) {
	s, ss := a.s, a.ss
	total := a.record.Offset + a.waiting()
	if a.record.Size > 0 && total != a.record.Size {
		return Blob{}, fail(ErrSizeMismatch, ss.id, "%d bytes came, %d were announced", total, a.record.Size).remedy("send all of it")
	}
	if d.Algorithm() == a.record.Algorithm {
		if got := sum(a.record.Algorithm, ss.hash); got != d {
			return Blob{}, mismatch(d, got, total)
		}
	}
	m, err := a.assemble(ctx, d)
	if err != nil {
		return Blob{}, err
	}
	if d.Algorithm() != a.record.Algorithm {
		if err := s.checkMade(ctx, m, d); err != nil {
			return Blob{}, err
		}
	}
	uploadJoined.Hit()
	b, certain, err := s.publish(ctx, ss.record.Repository, d, m)
	if err != nil {
		return Blob{}, err
	}
	s.vouch(m)
	ss.record = a.record
	s.end(ss, ss.leftover(d, m.data, certain))
	return b, nil
}

// vouch remembers the tags of data that has just become a blob's.
func (s *Store) vouch(m made) {
	if len(m.tags) == 0 && m.bytes != nil {
		m.tags = s.voucher.tags(m.bytes, 0)
	}
	s.voucher.keep(m.data, m.size, m.tags)
}

func mismatch(want, got digest.Digest, size int64) *Error {
	e := fail(ErrDigestMismatch, want, "the %d bytes that came have digest %s", size, got).remedy("send the blob again")
	e.Facts = map[string]string{"actual": string(got)}
	return e
}

// made is what a blob's record will name.
type made struct {
	size   int64
	inline []byte // the bytes, for the record
	data   dataID // or where they are
	bytes  []byte // the bytes if they are still in memory
	tags   []byte // the voucher's, if it has them
}

// assemble brings what has come into the form in which it is kept.
func (a *appender) assemble(ctx context.Context, d digest.Digest) (made, error) {
	s, r := a.s, &a.record
	m := made{size: r.Offset + a.waiting()}
	if len(r.Parts) > 0 {
		m.data = r.Data
		err := a.complete(ctx, d, m.size)
		m.tags = slices.Concat(a.ss.tags...)
		return m, err
	}
	if a.spool != nil {
		if err := a.storeFirst(ctx); err != nil {
			return m, err
		}
	}
	if len(r.Tail) == 1 && a.waiting() == 0 && r.Tail[0].Data != "" {
		m.data, m.tags = r.Tail[0].Data, r.Tail[0].tags // the only piece is the blob
		m.bytes, _ = s.recent.Get(m.data)
		return m, nil
	}
	b, err := a.joined(ctx)
	if err != nil {
		return m, err
	}
	if len(b) <= MaxInline {
		m.inline = bytes.Clone(b)
		m.bytes = m.inline
		return m, nil
	}
	if m.data, err = a.putNext(ctx, b); err == nil {
		m.bytes = s.remember(m.data, b)
	}
	return m, err
}

// putData writes a data object under a name that only this call knows. So when
// it is there already, an attempt whose answer was lost has written it.
func (s *Store) putData(ctx context.Context, id dataID, b []byte) error {
	_, err := s.bucket.Put(ctx, dataKey(id), bytes.NewReader(b), int64(len(b)), bucket.Condition{IfAbsent: true})
	if errors.Is(err, bucket.ErrPrecondition) {
		err = s.sameSize(ctx, id, int64(len(b)))
	}
	return err
}

// joined returns the tail and the rest in one buffer.
func (a *appender) joined(ctx context.Context) ([]byte, error) {
	if len(a.record.Tail) == 0 {
		return a.rest(), nil
	}
	if a.part == nil {
		if err := a.takePart(ctx); err != nil {
			return nil, err
		}
	}
	return a.part[:a.n], a.s.readTail(ctx, a.record.Tail, a.part[:a.tail])
}

// complete joins the parts to the data object. Before that the record says
// which blob it will be, and so leads the sweep to that blob's record.
func (a *appender) complete(ctx context.Context, d digest.Digest, size int64) error {
	s, r := a.s, &a.record
	key := dataKey(r.Data)
	if b, err := a.joined(ctx); err != nil {
		return err
	} else if len(b) > 0 {
		at := int64(len(r.Parts)) * s.options.PartSize / chunkSize
		a.ss.tags = append(a.ss.tags[:min(len(a.ss.tags), len(r.Parts))], s.voucher.tags(b, at))
		p, err := s.bucket.PutPart(ctx, key, r.Multipart, len(r.Parts)+1, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		r.leave(r.Tail)
		r.Parts, r.Tail, r.Offset = append(slices.Clip(r.Parts), p), nil, size
		a.dropBuffer() // it is a part now
	}
	var err error
	if r.Hash, err = saveHash(a.ss.hash); err != nil {
		return err
	}
	if r.Digest != d || r.Offset != a.ss.record.Offset || len(r.Parts) != len(a.ss.record.Parts) {
		r.Digest = d
		if err := a.save(ctx); err != nil {
			return err
		}
	}
	uploadBeforeJoin.Hit()
	_, err = s.bucket.CompleteMultipart(ctx, key, r.Multipart, r.Parts, bucket.Condition{IfAbsent: true})
	if errors.Is(err, bucket.ErrNoUpload) || errors.Is(err, bucket.ErrPrecondition) { // completed before, perhaps
		return s.sameSize(ctx, r.Data, size)
	}
	return err
}

// sameSize says whether data that an earlier attempt may have written is there.
func (s *Store) sameSize(ctx context.Context, id dataID, size int64) error {
	info, err := s.bucket.Stat(ctx, dataKey(id))
	if err == nil && info.Size != size {
		err = fail(ErrConflict, id, "has %d bytes, not %d", info.Size, size).remedy("start the upload again")
	}
	return err
}

// checkMade reads back what was made to check a digest of another algorithm
// than was hashed on the way in.
func (s *Store) checkMade(ctx context.Context, m made, d digest.Digest) error {
	if m.bytes != nil || m.size == 0 {
		if got := d.Algorithm().FromBytes(m.bytes); got != d {
			return mismatch(d, got, m.size)
		}
		return nil
	}
	h, err := newHash(d.Algorithm())
	if err != nil {
		return err
	}
	if err := s.hashData(ctx, m.data, h); err != nil {
		return err
	}
	if got := sum(d.Algorithm(), h); got != d {
		return mismatch(d, got, m.size)
	}
	return nil
}
