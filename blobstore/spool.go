package blobstore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A spooled is what an appender has written to the bucket's own disk, where it
// needs no part buffer. It becomes the upload's first piece as it is, or, when
// there is too much of it for that, parts.
type spooled struct {
	to   bucket.Spool
	size int64  // bytes in it
	tags []byte // of the chunks in it
	crc  uint32 // CRC-32C of the bytes, while they are not more than a part
	bad  bool   // the last bytes could not be written

	parts int64  // bytes of it that are parts in the appender's record
	state []byte // the hash's state at the end of its last whole part
}

// spooler is the bucket as a bucket.Spooler if the upload can wait on its disk:
// nothing of it has a name yet.
func (s *Store) spooler(ss *session) bucket.Spooler {
	if sp, ok := s.bucket.(bucket.Spooler); ok && ss.record.untouched() {
		return sp
	}
	return nil
}

// waiting is how many bytes have come that are in no part and no piece.
func (a *appender) waiting() int64 {
	n := int64(len(a.rest()))
	if a.spool != nil {
		n += a.spool.size - a.spool.parts
	}
	return n
}

// pour writes the chunk that has come to the spool. What has come since the last
// checkpoint becomes parts when it is enough for the next.
func (a *appender) pour(ctx context.Context) error {
	if a.spool == nil {
		to, err := a.spooler.Spool(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		a.spool = &spooled{to: to}
	}
	if err := a.pourChunk(); err != nil {
		return err
	}
	p, size := a.spool, a.s.options.PartSize
	if p.size%size != 0 {
		return nil
	}
	var err error
	if p.state, err = saveHash(a.ss.hash); err != nil || p.size-p.parts < checkpoint*size {
		return err
	}
	longer, done := outlive(ctx)
	defer done()
	if err := a.spoolParts(longer, false); err != nil {
		return err
	}
	return a.save(longer)
}

// pourChunk writes what is in first to the spool.
func (a *appender) pourChunk() error {
	p, b := a.spool, a.first[:a.n]
	a.n = 0
	if number, most := p.size/a.s.options.PartSize+1, a.s.bucket.Features().MaxParts; number > int64(most) {
		p.bad = true
		return a.tooManyParts(most)
	}
	if _, err := p.to.Write(b); err != nil {
		p.bad = true
		return overtook(err)
	}
	p.tags = a.s.voucher.append(p.tags, p.size/chunkSize, b)
	if p.size < a.s.options.PartSize {
		p.crc = crc32.Update(p.crc, castagnoli, b)
	}
	p.size += int64(len(b))
	return nil
}

// overtook makes an error of class ErrPrecondition of one that says that another
// server has gone on with the parts, or ended the upload.
func overtook(err error) error {
	if errors.Is(err, bucket.ErrPart) || errors.Is(err, bucket.ErrNoUpload) {
		err = fmt.Errorf("%w: %w", bucket.ErrPrecondition, err)
	}
	return err
}

// spoolParts makes parts of what is in the spool and fills them; with last, of
// all of it.
func (a *appender) spoolParts(ctx context.Context, last bool) error {
	p, r, size := a.spool, &a.record, a.s.options.PartSize
	id, parts, err := p.to.Parts(ctx, dataKey(r.Data), size, last)
	if err != nil {
		a.ss.doubt = a.ss.doubt || r.Multipart == ""
		return overtook(err)
	}
	uploadPartSent.Hit()
	r.Multipart, r.Parts = id, slices.Clip(r.Parts)
	for _, part := range parts {
		at := p.parts / chunkSize * tagSize
		end := min(int64(len(p.tags)), at+size/chunkSize*tagSize)
		a.ss.tags = append(a.ss.tags[:min(len(a.ss.tags), len(r.Parts))], p.tags[at:end])
		r.Parts = append(r.Parts, part)
		r.Offset += part.Size
		p.parts += part.Size
	}
	if r.Hash = p.state; last {
		r.Hash, err = saveHash(a.ss.hash)
	}
	return err
}

// partition makes parts of a spool that is too large for a piece, or has parts
// already. What does not fill one comes back into memory, and the spool is closed.
// Without keep, or after an error, only what is durable already is kept.
func (a *appender) partition(ctx context.Context, keep bool) error {
	p, size := a.spool, a.s.options.PartSize
	if p == nil {
		return nil
	}
	begun := a.record.Multipart != ""
	if !begun && keep && !p.bad && p.size+int64(a.n) <= a.firstMost {
		return nil // a piece
	}
	var err error
	if begun || keep && !p.bad {
		if p.size/size*size > p.parts {
			err = a.spoolParts(ctx, false)
		}
	}
	if err != nil || !keep || p.bad {
		a.dropBuffer()
	} else if n := int(p.size - p.parts); n > 0 {
		err = a.readBack(ctx, n)
	}
	a.dropSpool()
	return err
}

// readBack fills a part buffer with the last n bytes of the spool, and what has
// come after them.
func (a *appender) readBack(ctx context.Context, n int) error {
	b, err := a.s.buffers.get(ctx)
	if err != nil {
		a.dropBuffer()
		return err
	}
	n += copy(b[n:], a.rest())
	more := a.n
	a.dropBuffer()
	a.part, a.n = b, n
	if err := a.spool.read(a.s.voucher, b[:n-more], a.spool.parts); err != nil {
		a.dropBuffer()
		return err
	}
	return nil
}

// read reads what has been written, from a chunk's beginning to a chunk's end or
// that of all. Errors: as readPiece.
func (p *spooled) read(v *voucher, b []byte, from int64) error {
	if _, err := p.to.ReadAt(b, from); err != nil {
		return err
	}
	if !v.vouchesAll(p.tags, from/chunkSize, b) {
		return fmt.Errorf("read back: %w: %w", bucket.ErrUnavailable, errPieceChanged)
	}
	return nil
}

// dropSpool frees the spool, and what in it has no name.
func (a *appender) dropSpool() {
	if a.spool != nil {
		_ = a.spool.to.Close()
	}
	a.spool, a.spooler = nil, nil
}
