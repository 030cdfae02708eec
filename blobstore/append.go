package blobstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
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

	first   *[chunkSize]byte // a short piece needs no part buffer
	scratch *[chunkSize]byte // what comes after first, on its way into part
	part    []byte           // a part buffer
	tail    int              // bytes at part's beginning that record.Tail will take
	n       int              // bytes in first or part, those of the tail included
}

// A sentPart is a part on its way.
type sentPart struct {
	bytes int64  // new ones, without those of a tail that is part of it
	hash  []byte // the state after it
	tags  []byte // of its chunks
	part  bucket.Part
	err   error
}

// A comingUpload is a multipart upload that the bucket has been asked for.
type comingUpload struct {
	done chan struct{} // closed when the others are set
	id   string
	err  error
}

func newAppender(s *Store, ss *session) (*appender, error) {
	a := &appender{s: s, ss: ss, record: ss.record, group: new(errgroup.Group)}
	a.group.SetLimit(partsAtOnce)
	var err error
	a.record.Hash, err = saveHash(ss.hash)
	a.began, a.beganAt = a.record.Hash, a.record.Offset
	return a, err
}

// close gives the buffers back, whatever happened.
func (a *appender) close() {
	_ = a.group.Wait()
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
	if a.fullTail() {
		if err := a.send(ctx); err != nil {
			return err
		}
	}
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

// fullTail says that the pieces make a whole part. It comes to that when a part
// could not be sent, for the bucket did not answer, and was stored as a piece
// when it did again: then there is no room for more before it is a part.
func (a *appender) fullTail() bool {
	return len(a.sent) == 0 && a.n == 0 && tailSize(a.record.Tail) >= int64(a.s.buffers.size)
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
		n = int(tailSize(a.record.Tail))
	}
	return a.scratch[:min(chunkSize, a.s.buffers.size-n)]
}

// take takes in what read has read.
func (a *appender) take(ctx context.Context, b []byte) error {
	if a.scratch != nil && len(b) > 0 {
		if a.part == nil {
			if err := a.takePart(ctx); err != nil {
				return err
			}
		}
		copy(a.part[a.n:], b)
	}
	a.ss.hash.Write(b)
	a.n += len(b)
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

// send is ship that writes the record now and then.
func (a *appender) send(ctx context.Context) error {
	if err := a.ship(ctx); err != nil || len(a.sent) < checkpoint {
		return err
	}
	if err := a.settle(); err != nil {
		return err
	}
	return a.save(ctx)
}

// ship sends what is in the buffer on its way as the next part.
func (a *appender) ship(ctx context.Context) error {
	if a.part == nil { // a part is as small as a chunk
		if err := a.takePart(ctx); err != nil {
			return err
		}
	}
	// What has arrived is kept, also when the connection breaks in this moment:
	// a client whose connections are short would otherwise never get past here.
	longer, done := outlive(ctx)
	sent := false
	defer func() {
		if !sent {
			done()
		}
	}()
	buf, size, tail := a.part, a.n, a.tail
	if tail > 0 {
		if err := a.s.readTail(longer, a.record.Tail, buf[:tail]); err != nil {
			return err
		}
	}
	number := len(a.record.Parts) + len(a.sent) + 1
	if most := a.s.bucket.Features().MaxParts; number > most {
		return fail(ErrTooLarge, a.ss.id, "more than %d parts of %d bytes", most, a.s.options.PartSize).remedy("run the server with a larger part size")
	}
	state, err := saveHash(a.ss.hash)
	if err != nil {
		return err
	}
	p := &sentPart{bytes: int64(size - tail), hash: state}
	a.sent = append(a.sent, p)
	a.s.buffers.letGo(a) // what is in it is no client's to wait for any more
	a.part, a.n, a.tail = nil, 0, 0
	key, upload := dataKey(a.record.Data), a.upload(longer)
	sent = true
	a.group.Go(func() error {
		defer done()
		defer a.s.buffers.put(buf)
		p.tags = a.s.voucher.tags(buf[:size], int64(number-1)*a.s.options.PartSize/chunkSize)
		var id string
		if id, p.err = upload(); p.err == nil {
			p.part, p.err = a.s.bucket.PutPart(longer, key, id, number, bytes.NewReader(buf[:size]), int64(size))
			uploadPartSent.Hit()
		}
		return p.err
	})
	return nil
}

// upload returns what tells a part's goroutine the bucket's id for the parts.
// The first part's makes it, while the next bytes are read; the others wait.
func (a *appender) upload(ctx context.Context) func() (string, error) {
	if id := a.record.Multipart; id != "" {
		return func() (string, error) { return id, nil }
	}
	if c := a.coming; c != nil {
		return func() (string, error) { <-c.done; return c.id, c.err }
	}
	c := &comingUpload{done: make(chan struct{})}
	a.coming = c
	key := dataKey(a.record.Data)
	return func() (string, error) {
		defer close(c.done)
		c.id, c.err = a.s.bucket.CreateMultipart(ctx, key)
		return c.id, c.err
	}
}

// outlive returns a context that ends storeTimeout after ctx does, or with done.
func outlive(ctx context.Context) (_ context.Context, done func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(storeTimeout, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// settle waits for the parts that are on their way, and takes those that have
// arrived, up to the first that has not, into the record.
func (a *appender) settle() error {
	err := a.group.Wait()
	a.group = new(errgroup.Group)
	a.group.SetLimit(partsAtOnce)
	if c := a.coming; c != nil {
		a.record.Multipart = c.id
		a.ss.doubt = a.ss.doubt || c.err != nil
	}
	a.coming = nil
	a.record.Parts = slices.Clip(a.record.Parts)
	for _, p := range a.sent {
		if p.err != nil {
			break
		}
		a.ss.tags = append(a.ss.tags[:min(len(a.ss.tags), len(a.record.Parts))], p.tags)
		a.record.Parts = append(a.record.Parts, p.part)
		a.record.leave(a.record.Tail) // the first part has taken it in
		a.record.Tail = nil
		a.record.Offset += p.bytes
		a.record.Hash = p.hash
	}
	a.sent = nil
	return err
}

// dropMultipart gives up the bucket's upload that was made here, if the record is
// certain not to name it.
func (a *appender) dropMultipart(ctx context.Context, saving error) {
	err := saving
	if errors.Is(err, bucket.ErrPrecondition) {
		err = a.s.bucket.AbortMultipart(ctx, dataKey(a.record.Data), a.record.Multipart)
	}
	a.ss.doubt = a.ss.doubt || err != nil
}

// store makes durable what has arrived, also when reading has failed with
// cause, and brings the session up to it.
func (a *appender) store(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if errors.Is(cause, errPieceChanged) {
		return a.group.Wait() // what comes behind wrong bytes must not be counted
	}
	written := a.pieceAhead(ctx, cause)
	err := a.settle()
	written()
	if err == nil && len(a.rest()) > 0 && !errors.Is(cause, ErrSizeMismatch) && !errors.Is(cause, ErrTooLarge) {
		if a.ss.record.untouched() && a.record.Multipart == "" && len(a.rest()) > MaxInline {
			err = a.storeFirst(ctx)
			if err == nil {
				return nil
			}
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
