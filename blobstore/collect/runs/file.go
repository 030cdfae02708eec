package runs

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"os"
)

// spill writes the buffer to the file as a run, and empties it.
func (s *Sorter) spill() error {
	s.sort()
	w, err := s.writer()
	if err != nil {
		return err
	}
	for _, at := range s.at {
		if err := w.add(s.string(at)); err != nil {
			return s.failed(err)
		}
	}
	if err := s.finish(w); err != nil {
		return err
	}
	s.spills++
	s.buf, s.at = s.buf[:0], s.at[:0]
	return nil
}

// join writes the first runs once more, as one at the end of the file.
func (s *Sorter) join(runs []section) error {
	w, err := s.writer()
	if err != nil {
		return err
	}
	for b, err := range s.merge(runs) {
		if err == nil {
			err = w.add(b)
		}
		if err != nil {
			return s.failed(err)
		}
	}
	if err := s.finish(w); err != nil {
		return err
	}
	s.runs = s.runs[len(runs):]
	return nil
}

// A runWriter writes one run.
type runWriter struct {
	w    *bufio.Writer
	size int64
}

func (w *runWriter) add(b []byte) error {
	var n [binary.MaxVarintLen64]byte
	head := binary.PutUvarint(n[:], uint64(len(b)))
	w.size += int64(head + len(b))
	if _, err := w.w.Write(n[:head]); err != nil {
		return err
	}
	_, err := w.w.Write(b)
	return err
}

// writer writes to the end of the file, which it makes if there is none.
func (s *Sorter) writer() (*runWriter, error) {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "lamina-runs-*")
		if err != nil {
			return nil, s.failed(err)
		}
		// Where that cannot be done while it is open, Close does it.
		_ = os.Remove(f.Name())
		s.file = f
	}
	return &runWriter{w: bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.end), readBuffer)}, nil
}

func (s *Sorter) finish(w *runWriter) error {
	if err := w.w.Flush(); err != nil {
		return s.failed(err)
	}
	s.runs = append(s.runs, section{s.end, w.size})
	s.end += w.size
	return nil
}

func (s *Sorter) failed(err error) error {
	dir := s.dir
	if dir == "" {
		dir = os.TempDir()
	}
	return fmt.Errorf("sort in folder %s, which takes some 100 bytes for each thing that is stored: %w", dir, err)
}

// merge yields what is in the runs, in order, and once.
func (s *Sorter) merge(runs []section) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var h sources
		for _, r := range runs {
			src := &source{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.at, r.size), readBuffer)}
			more, err := src.next()
			if err != nil {
				yield(nil, s.failed(err))
				return
			}
			if more {
				h = append(h, src)
			}
		}
		heap.Init(&h)
		var last []byte
		some := false
		for len(h) > 0 {
			if b := h[0].b; !some || !bytes.Equal(b, last) {
				last, some = append(last[:0], b...), true
				if !yield(last, nil) {
					return
				}
			}
			more, err := h[0].next()
			switch {
			case err != nil:
				yield(nil, s.failed(err))
				return
			case more:
				heap.Fix(&h, 0)
			default:
				heap.Pop(&h)
			}
		}
	}
}

// A source is a run that is read, and its next string.
type source struct {
	r *bufio.Reader
	b []byte
}

// next reads a string; false at the end of the run.
func (s *source) next() (bool, error) {
	n, err := binary.ReadUvarint(s.r)
	if err == io.EOF {
		return false, nil
	}
	if err == nil && n > MaxLength {
		err = fmt.Errorf("a string of %d bytes in the file", n)
	}
	if err != nil {
		return false, err
	}
	if uint64(cap(s.b)) < n {
		s.b = make([]byte, n)
	}
	s.b = s.b[:n]
	if _, err = io.ReadFull(s.r, s.b); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err == nil, err
}

// sources is a heap by next string.
type sources []*source

func (h sources) Len() int           { return len(h) }
func (h sources) Less(i, j int) bool { return bytes.Compare(h[i].b, h[j].b) < 0 }
func (h sources) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sources) Push(x any)        { *h = append(*h, x.(*source)) }
func (h *sources) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
