package blobstore

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

const (
	// partsAtOnce is how many parts of one upload are on their way to the
	// bucket while the next is being filled.
	partsAtOnce = 3
	// checkpoint is after how many parts the record is written, so that a
	// server that dies costs a client at most that much.
	checkpoint = 16
	// firstParts is how many parts the first piece may be as large as, if it is
	// likely that more comes: then it is copied into parts, and stays for the
	// sweep. If that is unlikely it may be as large as what lies between two
	// checkpoints.
	firstParts = 2
	// maxPieces bounds the pieces of a tail; more are joined.
	maxPieces = 64
	// storeTimeout bounds what is done for a request that has ended.
	storeTimeout = time.Minute
)

// An appender takes bytes into an upload: it hashes them and sends parts to the
// bucket while they arrive. Its session is locked all the while.
//
// While it waits for its client it may have to give up its part buffer to others
// (see giveUp): bytes are read into scratch, which nobody takes away.
type appender struct {
	// mu is for everything below while readFrom runs, which lets go of it only
	// where it waits for the client; reading says that it does.
	mu      sync.Mutex
	reading bool
	failed  error // of giving up the buffer

	s  *Store
	ss *session

	record uploadRecord // what is durable; Hash is the state at Offset
	sent   []*sentPart  // since then, in order
	group  *errgroup.Group
	ahead  dataID        // the rest has been written there already
	coming *comingUpload // the bucket's id for the parts, if it is being made

	began   []byte // the hash's state at the beginning,
	beganAt int64  // which is this offset

	// Where the upload can wait on the bucket's disk, it does so from the first
	// chunk on, which is filled in first.
	spooler   bucket.Spooler
	spool     *spooled
	firstMost int64 // bytes that the first piece may have

	first   *[chunkSize]byte // a short piece needs no part buffer
	scratch *[chunkSize]byte // what comes after first, on its way into part
	part    []byte           // a part buffer
	tail    int              // bytes at part's beginning that record.Tail will take
	n       int              // bytes in first or part, those of the tail included
}

func newAppender(s *Store, ss *session) (*appender, error) {
	a := &appender{s: s, ss: ss, record: ss.record, group: new(errgroup.Group), spooler: s.spooler(ss)}
	a.firstMost = firstParts * s.options.PartSize
	a.group.SetLimit(partsAtOnce)
	var err error
	a.record.Hash, err = saveHash(ss.hash)
	a.began, a.beganAt = a.record.Hash, a.record.Offset
	return a, err
}

// close gives the buffers back, whatever happened.
func (a *appender) close() {
	_ = a.group.Wait()
	a.dropSpool()
	a.dropBuffer()
	if a.scratch != nil {
		chunks.Put(a.scratch)
		a.scratch = nil
	}
}

func (a *appender) dropBuffer() {
	if a.part != nil {
		a.s.buffers.letGo(a)
		a.s.buffers.put(a.part)
	}
	if a.first != nil {
		chunks.Put(a.first)
	}
	a.part, a.first, a.n, a.tail = nil, nil, 0, 0
}

// rest is what has been read and not been sent.
func (a *appender) rest() []byte {
	if a.part != nil {
		return a.part[a.tail:a.n]
	}
	if a.first != nil {
		return a.first[:a.n]
	}
	return nil
}

// readFrom takes all that r delivers. What does not fill a part stays.
func (a *appender) readFrom(ctx context.Context, r io.Reader) error {
	if r == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	total := a.record.Offset
	for {
		b, err := a.read(r)
		if a.failed != nil {
			return a.failed
		}
		if terr := a.take(ctx, b); terr != nil {
			return terr
		}
		if total += int64(len(b)); a.record.Size > 0 && total > a.record.Size {
			return fail(ErrSizeMismatch, a.ss.id, "more than the announced %d bytes", a.record.Size)
		}
		if err := a.s.tooLarge(a.ss.id, total); err != nil {
			return err
		}
		if a.n == a.s.buffers.size {
			if serr := a.send(ctx); serr != nil {
				return serr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read reads the next bytes, to where they can stay or into scratch.
func (a *appender) read(r io.Reader) ([]byte, error) {
	to := a.room()
	a.reading = true
	a.mu.Unlock()
	n, err := r.Read(to)
	a.mu.Lock()
	a.reading = false
	return to[:n], err
}

// room returns where the next bytes are read: a small buffer first, and scratch
// when that is full or something has come before them.
func (a *appender) room() []byte {
	if a.first == nil && a.part == nil && a.scratch == nil && len(a.sent) == 0 && len(a.record.Tail) == 0 {
		a.first = chunks.Get().(*[chunkSize]byte)
	}
	if a.first != nil && a.n < chunkSize {
		return a.first[a.n:]
	}
	if a.scratch == nil {
		a.scratch = chunks.Get().(*[chunkSize]byte)
	}
	n := a.n
	if a.part == nil && a.first == nil && len(a.sent) == 0 {
		n = int(tailSize(a.record.Tail) % a.s.options.PartSize) // see partTail
	}
	return a.scratch[:min(chunkSize, a.s.buffers.size-n)]
}

// take takes in what read has read.
func (a *appender) take(ctx context.Context, b []byte) error {
	if a.scratch != nil && len(b) > 0 {
		if a.part == nil {
			if err := a.partTail(ctx); err != nil {
				return err
			}
			if err := a.takePart(ctx); err != nil {
				return err
			}
		}
		copy(a.part[a.n:], b)
	}
	a.ss.hash.Write(b)
	a.n += len(b)
	if a.spooler != nil && a.n == chunkSize {
		return a.pour(ctx)
	}
	return nil
}

// takePart makes part the buffer, with room for the tail at its beginning.
func (a *appender) takePart(ctx context.Context) error {
	part, err := a.s.buffers.get(ctx)
	if err != nil {
		return err
	}
	a.part = part
	a.s.buffers.hold(a)
	if a.first != nil {
		copy(a.part, a.first[:a.n])
		chunks.Put(a.first)
		a.first = nil
	} else if len(a.sent) == 0 {
		a.tail = int(tailSize(a.record.Tail))
		a.n = a.tail
	}
	return nil
}

// store makes durable what has arrived, also when reading has failed with
// cause, and brings the session up to it.
func (a *appender) store(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if errors.Is(cause, errPieceChanged) {
		return a.group.Wait() // what comes behind wrong bytes must not be counted
	}
	keep := !errors.Is(cause, ErrSizeMismatch) && !errors.Is(cause, ErrTooLarge) && !errors.Is(cause, ErrDigestMismatch)
	err := a.partition(ctx, keep)
	written := a.pieceAhead(ctx, keep)
	err = errors.Join(err, a.settle())
	written()
	if err == nil && a.waiting() > 0 && keep {
		if a.ss.record.untouched() && a.record.Multipart == "" && a.waiting() > MaxInline {
			err = a.storeFirst(ctx)
		} else {
			err = a.storePiece(ctx)
		}
	}
	if a.record.Offset != a.ss.record.Offset || a.record.Multipart != a.ss.record.Multipart {
		made := a.record.Multipart != "" && a.record.Multipart != a.ss.record.Multipart
		if serr := a.save(ctx); serr != nil {
			err = errors.Join(err, serr)
			if made {
				a.dropMultipart(ctx, serr)
			}
		}
		uploadSaved.Hit()
	}
	// What was read and could not be stored must not stay hashed: the state goes
	// back to the offset that the record really has.
	state := a.record.Hash
	switch a.ss.record.Offset {
	case a.record.Offset:
	case a.beganAt:
		state = a.began
	default: // a checkpoint on the way
		state = a.ss.record.Hash
	}
	h, herr := loadHash(a.record.Algorithm, state)
	if herr != nil {
		return herr
	}
	a.ss.hash = h
	return err
}
