package runs

import (
	"bytes"
	"iter"
)

// A Cursor goes through sorted strings side by side with something else that is
// in the same order. It is for one goroutine; Close it when done.
type Cursor struct {
	next func() ([]byte, error, bool)
	stop func()
	b    []byte
	err  error
	ok   bool
}

// Walk returns a Cursor at the first string of the sorter.
func (s *Sorter) Walk() *Cursor { return NewCursor(s.Sorted()) }

// NewCursor returns a Cursor at the first string of a sequence that is in order.
func NewCursor(seq iter.Seq2[[]byte, error]) *Cursor {
	c := &Cursor{}
	c.next, c.stop = iter.Pull2(seq)
	c.Next()
	return c
}

// At is the string the cursor is at, valid until it moves; false at the end, and
// after an error.
func (c *Cursor) At() ([]byte, bool) { return c.b, c.ok }

// Err is why the sequence has ended too early.
func (c *Cursor) Err() error { return c.err }

// Next moves on by one.
func (c *Cursor) Next() {
	c.b, c.err, c.ok = c.next()
	if c.err != nil {
		c.ok = false
	}
}

// Skip moves on to the first string that is not less than b, and says whether
// that begins with b.
func (c *Cursor) Skip(b []byte) bool {
	for c.ok && bytes.Compare(c.b, b) < 0 {
		c.Next()
	}
	return c.ok && bytes.HasPrefix(c.b, b)
}

// Close ends the sequence.
func (c *Cursor) Close() { c.stop() }
