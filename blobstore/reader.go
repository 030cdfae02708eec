package blobstore

import (
	"fmt"
	"hash"
	"io"
	"sync"
)

// A Reader reads a blob or a part of one. The bytes of a whole blob are checked
// as they pass: when they do not match, Read and WriteTo fail with ErrCorrupt
// before the last of them is delivered. The first time this is done by hashing
// them, and then chunk by chunk (see voucher). Parts cannot be checked.
//
// A Reader is for one goroutine, and is closed by whoever opened it.
type Reader struct {
	store *Store
	blob  Blob
	copy  dataID // "" for inline bytes
	src   io.ReadCloser
	left  int64 // bytes not yet read from src
	whole bool
	hash  hash.Hash // nil for a part, and when the voucher knows the data
	index int64     // of the next chunk, of a whole blob
	tags  []byte    // of all chunks, or of those hashed so far

	chunk []byte // the pooled buffer that Read uses
	ready []byte // the part of it that has not been delivered
	err   error
}

// chunkSize is what is read, hashed and sent at a time.
const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func (r *Reader) begin() *Reader {
	if !r.whole {
		return r
	}
	if r.copy != "" {
		r.tags, _ = r.store.voucher.known.Get(r.copy)
	}
	if r.tags == nil {
		r.hash = r.blob.Digest.Algorithm().Hash()
	}
	return r
}

// Blob is the blob that is read.
func (r *Reader) Blob() Blob { return r.blob }

// Len is how many bytes are still to be delivered.
func (r *Reader) Len() int64 { return r.left + int64(len(r.ready)) }

// Read reads the next bytes.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.chunk == nil {
			r.chunk = chunks.Get().(*[chunkSize]byte)[:]
		}
		r.ready, r.err = r.next(r.chunk)
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// next reads a chunk. After the last one, which it checks, err is io.EOF
// together with the bytes; with any other error there are none.
func (r *Reader) next(buf []byte) ([]byte, error) {
	b := buf[:min(int64(len(buf)), r.left)]
	if _, err := io.ReadFull(r.src, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %w", r.blob.Digest, err)
	}
	r.left -= int64(len(b))
	if r.whole {
		if err := r.check(b); err != nil {
			return nil, err
		}
	}
	if r.left > 0 {
		return b, nil
	}
	return b, io.EOF
}

// check checks the next chunk of a whole blob, or hashes it, and all of them
// with the last.
func (r *Reader) check(b []byte) error {
	v := r.store.voucher
	index := r.index
	r.index++
	if r.hash == nil {
		if v.vouches(r.tags, index, b) {
			return nil
		}
		v.known.Remove(r.copy)
		return r.damaged("bytes from %d are not what they were", index*chunkSize)
	}
	r.hash.Write(b)
	if r.copy != "" {
		r.tags = v.append(r.tags, index, b)
	}
	if r.left > 0 {
		return nil
	}
	if got := sum(r.blob.Digest.Algorithm(), r.hash); got != r.blob.Digest {
		return r.damaged("the stored bytes have digest %s", got)
	}
	v.keep(r.copy, r.blob.Size, r.tags)
	return nil
}

func (r *Reader) damaged(format string, args ...any) error {
	err := fail(ErrCorrupt, r.blob.Digest, format, args...).remedy("push it again")
	r.store.log.Error("a copy of a blob is damaged", "digest", r.blob.Digest, "data", r.copy, "error", err)
	if r.copy != "" {
		r.store.suspect(r.blob.Digest, r.copy)
	}
	return err
}

// WriteTo writes all that is left to w.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var done int64
	if len(r.ready) > 0 {
		n, err := w.Write(r.ready)
		done, r.ready = int64(n), r.ready[n:]
		if err != nil {
			return done, err
		}
	}
	if r.err != nil {
		if r.err == io.EOF {
			return done, nil
		}
		return done, r.err
	}
	if !r.whole { // nothing to check: let the kernel copy if it can
		n, err := io.CopyN(w, r.src, r.left)
		r.left -= n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			r.err = io.EOF
		}
		return done + n, err
	}
	if r.hash == nil || r.left <= chunkSize {
		n, err := r.inTurn(w)
		return done + n, err
	}
	n, err := r.pipe(w)
	return done + n, err
}

// inTurn is WriteTo a chunk at a time, for what is checked so quickly that a
// second processor would only have to fetch it from the first one's cache.
func (r *Reader) inTurn(w io.Writer) (done int64, err error) {
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	for r.err == nil {
		var b []byte
		if b, r.err = r.next(buf[:]); r.err != nil && r.err != io.EOF {
			return done, r.err
		}
		n, err := w.Write(b)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// pipe is WriteTo for what takes long to check: while a chunk is being written
// the next one is read and hashed.
func (r *Reader) pipe(w io.Writer) (done int64, err error) {
	type part struct {
		buf *[chunkSize]byte
		b   []byte
	}
	var (
		full    = make(chan part, 2)
		stopped = make(chan struct{})
		reading sync.WaitGroup
	)
	reading.Go(func() {
		defer close(full)
		for r.err == nil {
			p := part{buf: chunks.Get().(*[chunkSize]byte)}
			p.b, r.err = r.next(p.buf[:])
			select {
			case full <- p:
			case <-stopped:
				chunks.Put(p.buf)
				return
			}
		}
	})
	for p := range full {
		if err == nil && len(p.b) > 0 {
			var n int
			n, err = w.Write(p.b)
			done += int64(n)
			if err != nil {
				close(stopped)
			}
		}
		chunks.Put(p.buf)
	}
	reading.Wait()
	if err == nil && r.err != io.EOF {
		err = r.err
	}
	return done, err
}

// Close ends the read. It may be called before the end.
func (r *Reader) Close() error {
	if r.chunk != nil {
		chunks.Put((*[chunkSize]byte)(r.chunk))
		r.chunk, r.ready = nil, nil
	}
	if r.err == nil {
		r.err = errClosed
	}
	return r.src.Close()
}

var errClosed = fmt.Errorf("blob reader is closed")
