package capture

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A tarWriter writes entries. Headers are made by package archive/tar, contents
// go past it, so that a Sink can take them from the file itself.
type tarWriter struct {
	ctx      context.Context
	sink     Sink
	size     int64
	entries  int64
	progress func(int64)
}

const block = 512

// Write counts what package archive/tar writes.
func (t *tarWriter) Write(b []byte) (int, error) {
	n, err := t.sink.Write(b)
	t.size += int64(n)
	return n, err
}

// header writes a header. A new tar.Writer for each, since it would insist on
// being given the content too; it keeps nothing from one entry to the next.
func (t *tarWriter) header(h *tar.Header) error {
	h.Format = tar.FormatPAX // the only one with nanoseconds, xattrs and long names
	if err := tar.NewWriter(t).WriteHeader(h); err != nil {
		return fmt.Errorf("tar header: %w", err)
	}
	t.entries++
	t.told()
	return nil
}

// whiteout writes the entry that deletes path.
func (t *tarWriter) whiteout(name string) error {
	return t.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, ModTime: time.Unix(0, 0)})
}

// content writes size bytes of a file, which have to be what the header says
// whatever the file has by now: what is missing becomes zeros, and missing says
// how much that was.
func (t *tarWriter) content(f *os.File, size int64, sparse bool) (missing int64, err error) {
	for off := int64(0); off < size; {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		data, end := off, min(size, off+stride)
		if sparse {
			data, end = segment(f, off, size)
			if err := t.zeros(data - off); err != nil {
				return 0, err
			}
			end = min(end, data+stride)
		}
		n, err := t.sink.WriteFile(f, data, end-data)
		t.size += n
		if err != nil {
			return 0, err
		}
		t.told()
		off = end
		if n < end-data {
			missing = size - data - n
			err = t.zeros(missing)
			off = size
		}
		if err != nil {
			return 0, err
		}
	}
	return missing, t.zeros(-size & (block - 1))
}

// stride is how much of a file is copied without a look at the context.
const stride = 64 << 20

// segment finds the next stretch of a sparse file that is not a hole. On
// filesystems that do not know, that is the rest of it.
func segment(f *os.File, off, size int64) (data, end int64) {
	data, err := f.Seek(off, unix.SEEK_DATA)
	if err != nil {
		if pathErr, ok := err.(*os.PathError); ok && pathErr.Err == unix.ENXIO {
			return size, size // a hole up to the end
		}
		return off, size
	}
	data = min(data, size)
	end, err = f.Seek(data, unix.SEEK_HOLE)
	if err != nil {
		return data, size
	}
	return data, min(max(end, data), size)
}

func (t *tarWriter) zeros(n int64) error {
	if n == 0 {
		return nil
	}
	t.size += n
	return t.sink.WriteZeros(n)
}

// close writes the end of the archive.
func (t *tarWriter) close() error {
	err := t.zeros(2 * block)
	t.told()
	return err
}

func (t *tarWriter) told() {
	if t.progress != nil {
		t.progress(t.size)
	}
}
