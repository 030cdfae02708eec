package blobstore

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// storeFirst writes a short first piece to the name the record has for it. The
// record stays as it is.
func (a *appender) storeFirst(ctx context.Context) error {
	b, id := a.rest(), a.record.First
	_, err := a.s.bucket.Put(ctx, dataKey(id), bytes.NewReader(b), int64(len(b)), bucket.Condition{IfAbsent: true})
	if errors.Is(err, bucket.ErrPrecondition) { // our own write, or another server's: look
		want := sum(a.record.Algorithm, a.ss.hash)
		if lerr := a.s.load(ctx, a.ss); lerr != nil {
			return lerr
		}
		a.record = a.ss.record
		if sum(a.record.Algorithm, a.ss.hash) == want {
			return nil
		}
		// The record is as it was at the start; the state is that of the other's piece.
		state, serr := saveHash(a.ss.hash)
		if serr != nil {
			return serr
		}
		a.record.Hash = state
		return err
	}
	if err != nil {
		a.ss.doubt = true
		return err
	}
	uploadPieceSent.Hit()
	a.s.remember(id, b)
	a.ss.record.Tail = []piece{{Data: id, Size: int64(len(b)), Alone: true, Check: checkOf(b)}}
	a.ss.record.Offset = int64(len(b))
	return nil
}

// pieceAhead begins to write what is left to where the record's next piece
// goes, while parts are on their way, and returns what waits for it. If these do
// not arrive the piece is the sweep's.
func (a *appender) pieceAhead(ctx context.Context, cause error) (wait func()) {
	b, id := a.rest(), a.record.Next
	if len(a.sent) == 0 || len(b) <= MaxInline || errors.Is(cause, ErrSizeMismatch) || errors.Is(cause, ErrTooLarge) {
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
	for {
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
}

// save writes the record as it is here.
func (a *appender) save(ctx context.Context) error {
	err := a.s.save(ctx, a.ss, a.record)
	if err == nil {
		a.record = a.ss.record
	}
	return err
}
