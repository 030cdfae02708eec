package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A Spool is a Sink that keeps a tar in a file without a name, to be read while
// the container runs on. Where the filesystem can share blocks between files
// (FICLONERANGE: xfs, btrfs), the content of large files is not copied. Holes
// stay holes. It belongs to one goroutine.
type Spool struct {
	file *os.File
	buf  *bufio.Writer
	copy []byte
	end  int64 // of what was written, with what is in buf
	size int64 // of the file
	// Shared blocks have to lie at a multiple of the block size, so there are gaps
	// in the file that the tar does not have.
	gaps  []gap
	share bool
}

type gap struct{ from, to int64 }

// shareFrom is how large a file has to be for sharing to be worth a call and a
// gap.
const shareFrom = 128 << 10

// NewSpool makes a spool on the filesystem of dir. The caller closes it; nothing
// is left behind when the process dies.
func NewSpool(dir string) (*Spool, error) {
	file, err := Unnamed(dir)
	if err != nil {
		return nil, err
	}
	return &Spool{
		file: file, share: true,
		buf: bufio.NewWriterSize(file, copyBuffer), copy: make([]byte, copyBuffer),
	}, nil
}

// Unnamed opens a new file on the filesystem of dir that has no name: it is gone
// when it is closed, or when the process dies.
func Unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir+"/(spool)"), nil
	}
	if err != unix.EOPNOTSUPP && err != unix.EISDIR {
		return nil, &os.PathError{Op: "make a temporary file in", Path: dir, Err: err}
	}
	file, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

func (s *Spool) Write(b []byte) (int, error) {
	if err := s.extend(s.end + int64(len(b))); err != nil {
		return 0, err
	}
	n, err := s.buf.Write(b)
	s.end += int64(n)
	return n, err
}

// extend makes the file longer than what will be written to it. XFS gives a file
// that grows by writing as many blocks again as it has, in advance.
func (s *Spool) extend(end int64) error {
	if end <= s.size {
		return nil
	}
	const ahead = 1 << 30 // a hole
	s.size = end + ahead
	return s.file.Truncate(s.size)
}

func (s *Spool) WriteZeros(n int64) error {
	if n < shareFrom {
		for left := n; left > 0; {
			m, err := s.Write(zeros[:min(left, int64(len(zeros)))])
			if err != nil {
				return err
			}
			left -= int64(m)
		}
		return nil
	}
	return s.moveTo(s.end + n)
}

// moveTo leaves a hole.
func (s *Spool) moveTo(end int64) error {
	if err := s.buf.Flush(); err != nil {
		return err
	}
	if _, err := s.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	s.end = end
	return s.extend(end)
}

func (s *Spool) WriteFile(f *os.File, off, n int64) (int64, error) {
	shared := int64(0)
	if s.share && n >= shareFrom {
		const whole = 4 << 10 // a block
		if err := s.shareRange(f, off, n&^(whole-1)); err == nil {
			shared = n &^ (whole - 1)
		} else if !cannotShare(err) {
			return 0, err
		}
	}
	copied, err := copyAt(s, f, off+shared, n-shared, s.copy)
	return shared + copied, err
}

// shareRange lets the spool have blocks of f as they are now.
func (s *Spool) shareRange(f *os.File, off, n int64) error {
	if err := s.buf.Flush(); err != nil {
		return err
	}
	const align = 64 << 10 // the largest block of any filesystem that shares
	start := (s.end + align - 1) &^ (align - 1)
	if err := s.extend(start + n); err != nil {
		return err
	}
	err := unix.IoctlFileCloneRange(int(s.file.Fd()), &unix.FileCloneRange{
		Src_fd: int64(f.Fd()), Src_offset: uint64(off), Src_length: uint64(n), Dest_offset: uint64(start),
	})
	if err != nil {
		// Of this file perhaps, such as one that was cut short; or of all.
		s.share = err == unix.EINVAL
		return err
	}
	if start > s.end {
		s.gaps = append(s.gaps, gap{s.end, start})
	}
	return s.moveTo(start + n)
}

func cannotShare(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EXDEV, unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EPERM, unix.ETXTBSY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Reader ends the writing and returns the tar. What has been read is freed on
// disk, so it can be read once. ctx ends a Read.
func (s *Spool) Reader(ctx context.Context) (io.Reader, error) {
	if err := s.buf.Flush(); err != nil {
		return nil, err
	}
	if err := s.file.Truncate(s.end); err != nil {
		return nil, err
	}
	return &spoolReader{ctx: ctx, s: s, gaps: s.gaps}, nil
}

// Close frees the file.
func (s *Spool) Close() error { return s.file.Close() }

type spoolReader struct {
	ctx        context.Context
	s          *Spool
	gaps       []gap
	pos, freed int64
}

func (r *spoolReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.gaps) > 0 && r.pos == r.gaps[0].from {
		r.pos, r.gaps = r.gaps[0].to, r.gaps[1:]
	}
	end := r.s.end
	if len(r.gaps) > 0 {
		end = r.gaps[0].from
	}
	if r.pos == end {
		return 0, io.EOF
	}
	n, err := r.s.file.ReadAt(b[:min(int64(len(b)), end-r.pos)], r.pos)
	r.pos += int64(n)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	if err != nil {
		return n, fmt.Errorf("read the spool: %w", err)
	}
	const freeEvery = 16 << 20
	if r.pos-r.freed >= freeEvery {
		// The layer is being compressed to the same disk. A filesystem that cannot
		// do this keeps the blocks until Close.
		_ = unix.Fallocate(int(r.s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.freed, r.pos-r.freed)
		r.freed = r.pos
	}
	return n, nil
}
