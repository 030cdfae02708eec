package capture

import (
	"errors"
	"io"
	"os"
)

// A Sink takes a tar. One that is not just an io.Writer can save work with what
// comes from files.
type Sink interface {
	io.Writer
	// WriteZeros is like writing n zero bytes.
	WriteZeros(n int64) error
	// WriteFile is like writing the n bytes of f at off, or as many of them as
	// there are: written tells. It does not close f.
	WriteFile(f *os.File, off, n int64) (written int64, err error)
}

// asSink makes a Sink of any writer.
func asSink(w io.Writer) Sink {
	if s, ok := w.(Sink); ok {
		return s
	}
	return &plainSink{w, make([]byte, copyBuffer)}
}

// copyBuffer is how much of a file is read at once.
const copyBuffer = 256 << 10

type plainSink struct {
	io.Writer
	buf []byte
}

var zeros [32 << 10]byte

func (s *plainSink) WriteZeros(n int64) error {
	for n > 0 {
		m, err := s.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

func (s *plainSink) WriteFile(f *os.File, off, n int64) (int64, error) {
	return copyAt(s.Writer, f, off, n, s.buf)
}

// copyAt copies the n bytes of f at off, or as many of them as there are.
func copyAt(w io.Writer, f *os.File, off, n int64, buf []byte) (written int64, err error) {
	for written < n {
		m, err := f.ReadAt(buf[:min(n-written, int64(len(buf)))], off+written)
		if m > 0 {
			if _, err := w.Write(buf[:m]); err != nil {
				return written, err
			}
			written += int64(m)
		}
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
