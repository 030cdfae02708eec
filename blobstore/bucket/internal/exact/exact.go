// Package exact copies as many bytes as were announced, and not one fewer or
// more: what the stores of package bucket do with a reader that they are given.
package exact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/laminastore/lamina/blobstore/bucket"
)

const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Copy copies r, from its beginning, to w. It fails with io.ErrUnexpectedEOF
// when r has fewer than size bytes and with bucket.ErrSize when it has more,
// and with the error of ctx soon after that has ended.
func Copy(ctx context.Context, w io.Writer, r io.ReadSeeker, size int64) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("seek to the beginning of the input: %w", err)
	}
	// The bytes of these need no copy on their way. (Others may have the same
	// methods and mean something else by Read.)
	switch m := r.(type) {
	case *bytes.Reader:
		return copyMemory(ctx, w, m, int64(m.Len()), size)
	case *strings.Reader:
		return copyMemory(ctx, w, m, int64(m.Len()), size)
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for left := size; left > 0; {
		n, err := io.ReadFull(r, buf[:min(left, bufferSize)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read the %d bytes announced: %w", size, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	switch n, err := io.ReadFull(r, buf[:1]); {
	case n > 0:
		return fmt.Errorf("%w: %d", bucket.ErrSize, size)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read past the %d bytes announced: %w", size, err)
	}
	return ctx.Err()
}

func copyMemory(ctx context.Context, w io.Writer, m io.WriterTo, have, size int64) error {
	switch {
	case have < size:
		return fmt.Errorf("read the %d bytes announced: %w after %d", size, io.ErrUnexpectedEOF, have)
	case have > size:
		return fmt.Errorf("%w: %d, not %d", bucket.ErrSize, have, size)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := m.WriteTo(w)
	return err
}
