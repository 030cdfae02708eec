package blobstore

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

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
		return a.tooManyParts(most)
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

func (a *appender) tooManyParts(most int) error {
	return fail(ErrTooLarge, a.ss.id, "more than %d parts of %d bytes", most, a.s.options.PartSize).remedy("run the server with a larger part size")
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
