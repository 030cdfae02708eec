package layers

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// A finding is what a blob turned out to be.
type finding struct {
	diffID digest.Digest // of the tar; empty when it is none
	size   int64         // of the tar in bytes
	// blobSize is the size of the blob, as it is compressed.
	blobSize int64
	// problem says why it is no layer, for people.
	problem string
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	// Skippable frames, which may come first: 0x184D2A50 to 0x184D2A5F.
	zstdSkippable = []byte{0x2a, 0x4d, 0x18}
)

func isZstd(b []byte) bool {
	return bytes.HasPrefix(b, zstdMagic) || len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], zstdSkippable)
}

// looksLikeLayer says whether b begins as a layer does.
func looksLikeLayer(b []byte) bool {
	return bytes.HasPrefix(b, gzipMagic) || isZstd(b) || len(b) >= 512 && bytes.Equal(b[257:262], []byte("ustar"))
}

// examine reads a blob of the size given from r to its end, and says what it
// is. What is wrong with its content is a finding; an error is one of r.
func (o Options) examine(r io.Reader, size int64, alg digest.Algorithm) (finding, error) {
	src := &source{r: r}
	plain, closer, format, err := o.decompress(bufio.NewReaderSize(src, 64<<10))
	if err == nil {
		defer closer()
		t := &tarStream{r: plain, hash: alg.Hash(), size: size, options: o}
		err = t.read()
		if err == nil {
			// What follows the gzip or zstd stream is the decompressor's to refuse.
			return finding{diffID: digest.NewDigest(alg, t.hash), size: t.n, blobSize: size}, src.err
		}
	}
	if src.err != nil {
		return finding{}, src.err
	}
	if b, ok := errors.AsType[*bomb](err); ok {
		return finding{problem: b.Error()}, nil
	}
	return finding{problem: fmt.Sprintf("it is no tar (read as %s: %v)", format, err)}, nil
}

// decompress finds out from its first bytes how r is compressed.
func (o Options) decompress(r *bufio.Reader) (plain io.Reader, closer func(), format string, err error) {
	start, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, "", err
	}
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, "gzip", err
		}
		return z, func() { z.Close() }, "gzip", nil
	case isZstd(start):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(o.MaxWindow)))
		if err != nil {
			return nil, nil, "zstd", err
		}
		return z, z.Close, "zstd", nil
	}
	return r, func() {}, "not compressed", nil
}

// A source remembers the error of the reader below the decompressor, which is
// not the blob's fault.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A tarStream reads a tar, and hashes and counts its bytes.
type tarStream struct {
	r       io.Reader
	hash    hash.Hash
	n       int64
	size    int64 // of the blob it is read from
	options Options
}

// A bomb is a layer that expands beyond the limits.
type bomb struct{ detail string }

func (b *bomb) Error() string { return b.detail }

func (t *tarStream) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.hash.Write(p[:n])
	t.n += int64(n)
	o := &t.options
	switch {
	case t.n > o.MaxSize:
		return 0, &bomb{fmt.Sprintf("it expands to more than %d bytes, which is the limit here", o.MaxSize)}
	case t.n > o.RatioFrom && t.n/o.MaxRatio > t.size:
		return 0, &bomb{fmt.Sprintf("it expands to more than %d times its own size of %d bytes", o.MaxRatio, t.size)}
	}
	return n, err
}

// read goes through the tar and what follows its end, which is part of the
// digest but of no concern: tar itself does not look at it either.
func (t *tarStream) read() error {
	tr := tar.NewReader(t)
	for {
		_, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // nothing is unpacked here
			return err
		}
	}
	_, err := io.Copy(io.Discard, t)
	return err
}
