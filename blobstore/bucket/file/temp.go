package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// staleAfter is the age from which a temporary file that nobody has locked is
// taken for what a crash left.
const staleAfter = 24 * time.Hour

// newTemp makes a file to write an object to. It is locked until it is closed,
// so that no other process takes it for an old one.
func (b *Bucket) newTemp() (*os.File, error) {
	f, err := b.openAt(path.Join(tempDir, rand.Text()), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b.dropTemp(f)
		return nil, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// dropTemp closes a temporary file and removes its name, if it still has one.
func (b *Bucket) dropTemp(f *os.File) {
	_ = unix.Unlinkat(int(b.root.Fd()), f.Name(), 0)
	_ = f.Close()
}

// clearTemp removes the temporary files that crashes left.
func (b *Bucket) clearTemp(now time.Time) {
	dir, err := b.openFolder(tempDir)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		f, err := b.openAt(path.Join(tempDir, name), unix.O_RDWR|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		st, err := statFile(f)
		old := err == nil && now.Sub(time.Unix(st.Mtim.Unix())) > staleAfter
		if old && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			b.dropTemp(f)
		} else {
			_ = f.Close()
		}
	}
}

// buffers are for copying. A small object fits into one whole.
var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// copyExactly copies the size bytes that r has to w, and fails when it has
// fewer or more. It looks at ctx now and then.
func copyExactly(ctx context.Context, w io.Writer, r io.ReadSeeker, size int64) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("seek to the beginning of the input: %w", err)
	}
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	for left := size; left > 0; {
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
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
