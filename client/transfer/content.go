package transfer

import (
	"context"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content checks a source's blob on its way: the one place where bytes are
// compared with their digest. It hashes every byte once, however often a
// destination goes back.
type content struct {
	src   Source
	desc  ocispec.Descriptor
	meter Meter

	// A reader that was left may still be in a Read: net/http does that to the
	// body of a request whose answer came early. Only the last one counts.
	mu     sync.Mutex
	last   *contentReader
	hash   hash.Hash
	hashed int64 // bytes that the hash has seen, from the beginning
}

func newContent(src Source, d ocispec.Descriptor, m Meter) *content {
	return &content{src: src, desc: d, meter: m, hash: d.Digest.Algorithm().Hash()}
}

func (c *content) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > c.desc.Size {
		return nil, fmt.Errorf("read %s from %d: it has %d bytes", c.desc.Digest, offset, c.desc.Size)
	}
	r := &contentReader{c: c}
	c.mu.Lock()
	c.last = r
	// What the hash has not seen is read, also when nobody wants it.
	start := min(offset, c.hashed)
	c.mu.Unlock()
	rc, err := c.src.Open(ctx, c.desc, start)
	if err != nil {
		return nil, err
	}
	r.rc, r.pos = rc, start
	if _, err := io.CopyN(io.Discard, r, offset-start); err != nil {
		rc.Close()
		return nil, err
	}
	return r, nil
}

type contentReader struct {
	c   *content
	rc  io.ReadCloser
	pos int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	c := r.c
	n, err := r.rc.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != r {
		return 0, fmt.Errorf("%s is read anew", c.desc.Digest)
	}
	if seen := c.hashed - r.pos; int64(n) > seen {
		c.hash.Write(p[seen:n])
		c.hashed += int64(n) - seen
	}
	r.pos += int64(n)
	switch {
	case r.pos > c.desc.Size:
		return 0, c.damaged("it goes on after %d bytes", c.desc.Size)
	case r.pos == c.desc.Size && n > 0 || err == io.EOF && c.desc.Size == 0:
		// Not at the end of file alone: the last bytes must not get through to
		// someone who knows the size and stops there.
		if got := digest.NewDigest(c.desc.Digest.Algorithm(), c.hash); got != c.desc.Digest {
			return 0, c.damaged("its bytes have the digest %s", got)
		}
	case err == io.EOF && r.pos < c.desc.Size:
		return n, c.damaged("it ends after %d of %d bytes", r.pos, c.desc.Size)
	}
	c.meter.At(r.pos)
	return n, err
}

func (r *contentReader) Close() error { return r.rc.Close() }

func (c *content) damaged(format string, args ...any) error {
	return at(c.src, fail(ErrDamaged, "%s is damaged: %s (get it anew from where it came from)", c.desc.Digest, fmt.Sprintf(format, args...)))
}

// Checked is a blob of src, checked while it is read.
func Checked(src Source, d ocispec.Descriptor) Content { return newContent(src, d, silent{}) }

// Bytes is the content of something that can be read at any place, such as a
// file, and is not checked here. It may be opened several times at once.
func Bytes(r io.ReaderAt, size int64) Content { return plain{r, size} }

type plain struct {
	r    io.ReaderAt
	size int64
}

func (p plain) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(p.r, offset, p.size-offset)), nil
}
