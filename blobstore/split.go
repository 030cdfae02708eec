package blobstore

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// partTail makes room for more behind a tail that leaves none: a first piece that
// is as large as a part, or larger, and pieces that make a whole part together,
// which could not be sent when they came.
func (a *appender) partTail(ctx context.Context) error {
	r := &a.record
	switch {
	case len(a.sent) > 0 || tailSize(r.Tail) < a.s.options.PartSize:
		return nil
	case len(r.Tail) > 1 || len(r.Parts) > 0:
		return a.send(ctx)
	}
	longer, done := outlive(ctx)
	defer done()
	return a.split(longer, r.Tail[0])
}

// split makes parts of the first piece. What does not fill one stays a piece. The
// bytes are copied: the piece as it is may have become a blob's data on another
// server.
func (a *appender) split(ctx context.Context, p piece) error {
	r := &a.record
	key := dataKey(r.Data)
	id, err := a.s.bucket.CreateMultipart(ctx, key)
	if err != nil {
		a.ss.doubt = true
		return err
	}
	parts, tags, tail, err := a.s.copyParts(ctx, key, id, p)
	if err != nil {
		if aerr := a.s.bucket.AbortMultipart(ctx, key, id); aerr != nil {
			a.ss.doubt = true
		}
		return err
	}
	if len(tail) == 0 {
		r.leave(r.Tail)
	}
	r.Multipart, r.Parts, r.Tail, a.ss.tags = id, parts, tail, tags
	return nil
}

// copyParts puts the parts that p fills, and returns them with the voucher's tags,
// and what is left of p. Errors: as readPiece and PutPart.
func (s *Store) copyParts(ctx context.Context, key, id string, p piece) (parts []bucket.Part, tags [][]byte, tail []piece, err error) {
	buf, err := s.buffers.get(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer s.buffers.put(buf)
	crc := uint32(0)
	for at := int64(0); at < p.Size; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), p.Size-at)]
		if err := s.readPiece(ctx, piece{Data: p.Data, From: at, Size: int64(len(b)), tags: p.tags}, b); err != nil {
			return nil, nil, nil, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		if len(b) < len(buf) {
			tail = []piece{{Data: p.Data, From: at, Size: int64(len(b)), Alone: p.Alone, Check: checkOf(b)}}
			break
		}
		part, err := s.bucket.PutPart(ctx, key, id, len(parts)+1, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, nil, nil, err
		}
		parts, tags = append(parts, part), append(tags, s.voucher.tags(b, at/chunkSize))
	}
	if p.Check != 0 && p.Check != uint64(crc)+1 {
		return nil, nil, nil, fmt.Errorf("read %s: %w: %w", dataKey(p.Data), bucket.ErrUnavailable, errPieceChanged)
	}
	return parts, tags, tail, nil
}

// hashData writes all of a data object to h.
func (s *Store) hashData(ctx context.Context, id dataID, h io.Writer) error {
	src, _, err := s.bucket.Get(ctx, dataKey(id), 0, -1)
	if err != nil {
		return err
	}
	defer src.Close()
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	_, err = io.CopyBuffer(onlyWriter{h}, onlyReader{src}, buf[:])
	return err
}
