// Package runs sorts more byte strings than fit into memory: they are sorted
// piece by piece, each piece is written to disk as a run, and the runs are
// merged while they are read. Strings that are equal are one.
//
// The file of a sorter has no name in its folder, so that it takes no room any
// more once the process has ended, however it ended.
package runs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"sync"
)

// MaxLength is how long a string may be, in bytes.
const MaxLength = 64 << 10

const (
	// fanIn is how many runs are merged at once, and readBuffer the memory in
	// bytes that each takes meanwhile.
	fanIn      = 64
	readBuffer = 32 << 10
	// leastMemory is what New raises a smaller bound to; leastBuffer is what a
	// sorter begins with.
	leastMemory = 1 << 10
	leastBuffer = 16 << 10
)

// A Sorter takes strings in any order and yields them in the order of their
// bytes. Add may be called by several goroutines at once, and so may Sorted,
// once there is nothing more to add.
type Sorter struct {
	dir    string
	memory int

	mu     sync.Mutex
	buf    []byte   // strings, each after its length as a uvarint
	at     []uint32 // where they begin
	sorted bool     // buf has not been added to since it was sorted
	file   *os.File // nil until there is a run
	end    int64    // of the file
	runs   []section
	spills int // runs written from memory
	closed bool
}

// A section is where a run is in the file.
type section struct{ at, size int64 }

// New returns a Sorter that keeps up to memory bytes of strings in memory, and
// a quarter of that for where they are, and the rest in a file in dir, which is
// made when it is needed. Reading takes up to 2 MiB more.
func New(dir string, memory int) *Sorter {
	return &Sorter{dir: dir, memory: max(memory, leastMemory)}
}

// Add takes a copy of b, which is at most MaxLength bytes long. An error is one
// of writing the file, and ends the use of the sorter.
func (s *Sorter) Add(b []byte) error {
	if len(b) > MaxLength {
		return fmt.Errorf("sort: a string of %d bytes, at most %d", len(b), MaxLength)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("sort: the sorter is closed")
	}
	need := len(b) + binary.MaxVarintLen16
	if len(s.at) > 0 && len(s.buf)+need+4*(len(s.at)+1) > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.buf == nil {
		s.buf = make([]byte, 0, min(s.memory, leastBuffer))
	}
	s.sorted = false
	s.at = append(s.at, uint32(len(s.buf)))
	s.buf = binary.AppendUvarint(s.buf, uint64(len(b)))
	s.buf = append(s.buf, b...)
	return nil
}

// Spilled is how many runs were written to disk, for tests and for the curious.
func (s *Sorter) Spilled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spills
}

// Close gives back the memory and the file. It may be called again.
func (s *Sorter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.buf, s.at, s.runs = true, nil, nil, nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if rerr := os.Remove(s.file.Name()); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr) // where a file that is open cannot be removed
	}
	s.file = nil
	return err
}

// string returns the one that begins at an offset of the buffer.
func (s *Sorter) string(at uint32) []byte {
	n, w := binary.Uvarint(s.buf[at:])
	from := int(at) + w
	return s.buf[from : from+int(n)]
}

// sort sorts the buffer, and leaves out what is in it twice.
func (s *Sorter) sort() {
	if s.sorted {
		return
	}
	slices.SortFunc(s.at, func(a, b uint32) int { return bytes.Compare(s.string(a), s.string(b)) })
	s.at = slices.CompactFunc(s.at, func(a, b uint32) bool { return bytes.Equal(s.string(a), s.string(b)) })
	s.sorted = true
}

// Sorted yields all strings once, in order, each valid until the next. Nothing
// may be added any more. After an error, of reading or writing the file, the
// sequence ends.
func (s *Sorter) Sorted() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		runs, err := s.ready()
		if err != nil {
			yield(nil, err)
			return
		}
		if runs != nil {
			s.merge(runs)(yield)
			return
		}
		for _, at := range s.at {
			if !yield(s.string(at), nil) {
				return
			}
		}
	}
}

// ready sorts what is in memory if that is all, and then returns no run; or
// else writes it to the file, and returns the runs, few enough to be merged.
func (s *Sorter) ready() ([]section, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("sort: the sorter is closed")
	}
	if len(s.runs) == 0 {
		s.sort()
		return nil, nil
	}
	if len(s.at) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
		s.buf, s.at = nil, nil
	}
	for len(s.runs) > fanIn {
		if err := s.join(s.runs[:fanIn]); err != nil {
			return nil, err
		}
	}
	return s.runs, nil
}
