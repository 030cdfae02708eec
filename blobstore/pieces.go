package blobstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// storeFirst writes the first piece to the name the record has for it, and takes
// it into the session. The record in the bucket stays as it is.
func (a *appender) storeFirst(ctx context.Context) error {
	p, err := a.putFirst(ctx)
	if errors.Is(err, bucket.ErrPrecondition) { // our own write, or another server's: look
		want := sum(a.record.Algorithm, a.ss.hash)
		a.dropSpool()
		a.dropBuffer()
		if lerr := a.s.load(ctx, a.ss); lerr != nil {
			return lerr
		}
		if sum(a.record.Algorithm, a.ss.hash) == want {
			err = nil
		}
	} else if err == nil {
		uploadPieceSent.Hit()
		p.Alone = true
		a.rememberFirst(p.Size)
		a.dropSpool()
		a.dropBuffer()
		a.ss.record.Tail, a.ss.record.Offset = []piece{p}, p.Size
	} else {
		a.ss.doubt = true
		return err
	}
	// The record is as it was at the start; the state is that behind the piece.
	a.record = a.ss.record
	state, serr := saveHash(a.ss.hash)
	if serr != nil {
		return serr
	}
	a.record.Hash = state
	return err
}

// putFirst writes all that waits, from memory or the spool.
func (a *appender) putFirst(ctx context.Context) (piece, error) {
	p, absent := piece{Data: a.record.First, Size: a.waiting()}, bucket.Condition{IfAbsent: true}
	if a.spool == nil {
		b := a.rest()
		p.Check = checkOf(b)
		_, err := a.s.bucket.Put(ctx, dataKey(p.Data), bytes.NewReader(b), p.Size, absent)
		return p, err
	}
	if a.n > 0 {
		if err := a.pourChunk(); err != nil {
			return p, err
		}
	}
	if p.tags = a.spool.tags; p.Size <= a.s.options.PartSize { // else it is split before it gets into the record
		p.Check = uint64(a.spool.crc) + 1
	}
	_, err := a.spool.to.Put(ctx, dataKey(p.Data), absent)
	return p, err
}

// rememberFirst is remember for what putFirst has written.
func (a *appender) rememberFirst(size int64) {
	if size > a.s.mostRemembered() {
		return
	}
	b := a.rest()
	if a.spool != nil {
		b = make([]byte, size)
		if a.spool.read(a.s.voucher, b, 0) != nil {
			return // whoever needs it reads it from the bucket
		}
		a.s.recent.Put(a.record.First, b, size)
		return
	}
	a.s.remember(a.record.First, b)
}

// pieceAhead begins to write what is left to where the record's next piece
// goes, while parts are on their way, and returns what waits for it. If these do
// not arrive the piece is the sweep's.
func (a *appender) pieceAhead(ctx context.Context, keep bool) (wait func()) {
	b, id := a.rest(), a.record.Next
	if len(a.sent) == 0 || len(b) <= MaxInline || !keep {
		return func() {}
	}
	done := make(chan error, 1)
	a.ss.nextTried = true
	go func() {
		_, err := a.s.bucket.Put(ctx, dataKey(id), bytes.NewReader(b), int64(len(b)), bucket.Condition{IfAbsent: true})
		done <- err
	}()
	return func() {
		if <-done == nil { // else storePiece tries, and finds out what is wrong
			a.ahead = id
		}
	}
}

// storePiece adds what is left to the record's tail.
func (a *appender) storePiece(ctx context.Context) error {
	b := a.rest()
	tail, joined := slices.Clone(a.record.Tail), []piece(nil)
	if len(tail) >= maxPieces { // join them
		if err := a.s.readTail(ctx, tail, a.part[:a.tail]); err != nil {
			return err
		}
		b, tail, joined = a.part[:a.n], nil, tail
	}
	if last := len(tail) - 1; last >= 0 && tail[last].Inline != nil {
		b, tail = slices.Concat(tail[last].Inline, b), tail[:last]
	}
	p := piece{Size: int64(len(b)), Alone: len(a.record.Parts) == 0 && len(tail) == 0}
	if len(b) <= MaxInline {
		p.Inline = bytes.Clone(b)
	} else {
		p.Check = checkOf(b)
		if p.Data = a.ahead; p.Data == "" {
			var err error
			if p.Data, err = a.putNext(ctx, b); err != nil {
				return err
			}
		}
		uploadPieceSent.Hit()
		a.s.remember(p.Data, b)
	}
	state, err := saveHash(a.ss.hash)
	if err != nil {
		return err
	}
	a.record.Offset += int64(len(a.rest()))
	a.record.Tail, a.record.Hash = append(tail, p), state
	a.record.leave(joined)
	return nil
}

// putNext writes b to the name that the record has for the next piece, and
// returns it. When something is there already, be it what an attempt of ours has
// written whose answer was lost or another server's of the same upload, the record
// gets another name first: nothing is written that no record leads to.
func (a *appender) putNext(ctx context.Context, b []byte) (dataID, error) {
	for range maxNext {
		id := a.record.Next
		a.ss.nextTried = true
		_, err := a.s.bucket.Put(ctx, dataKey(id), bytes.NewReader(b), int64(len(b)), bucket.Condition{IfAbsent: true})
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, bucket.ErrPrecondition) {
			return "", err
		}
		a.record.leave([]piece{{Data: id, Alone: true}})
		if err := a.save(ctx); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("write a piece of upload %s: %w: %d new names were taken", a.ss.id, bucket.ErrUnavailable, maxNext)
}

// maxNext is how many names in a row may be taken: so many answers are not lost.
const maxNext = 8

// save writes the record as it is here.
func (a *appender) save(ctx context.Context) error {
	err := a.s.save(ctx, a.ss, a.record)
	if err == nil {
		a.record = a.ss.record
	}
	return err
}
