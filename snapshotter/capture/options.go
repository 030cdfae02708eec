package capture

import (
	"errors"
	"fmt"
)

// Options say what to read.
type Options struct {
	// Upper is the folder that the overlay wrote to. Only overlays that were
	// mounted with redirect_dir and metacopy off can be read.
	Upper string
	// Lowers are the folders below it, the nearest first.
	Lowers []string
	// UserXattr is set for overlays that were mounted with the option
	// userxattr: their marks are user.overlay.* instead of trusted.overlay.*.
	UserXattr bool
	// Exclude are patterns as in .dockerignore, of paths from the root; the last
	// that matches counts, and "!" before one includes again. What is excluded
	// keeps the state that it has in the lowers.
	Exclude []string
	// MaxPath is the longest path in bytes; longer ones are left out. 0 means
	// that there is no limit.
	MaxPath int
	// OnChange is told of every change, in the order of the tar. An error ends the work.
	OnChange func(Change) error
	// OnProgress is told how many bytes of the tar there are, now and then.
	OnProgress func(bytes int64)
}

// A Kind says what happened to a path.
type Kind int

const (
	Added Kind = iota + 1
	Changed
	Deleted
)

func (k Kind) String() string {
	switch k {
	case Added:
		return "A"
	case Changed:
		return "C"
	case Deleted:
		return "D"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// A Change is a path that the upper shows otherwise than the lowers. A folder in
// which something changed has changed too.
type Change struct {
	// Path begins with "/". It is as on disk, and need not be UTF-8.
	Path string
	Kind Kind
	// Size of a regular file, in bytes.
	Size int64
}

// A Note is about something that is in the layer not as it was on disk, or not
// at all.
type Note struct {
	Path string // as in Change
	Text string // what became of it, as in "is a socket"
}

func (n Note) String() string { return n.Path + " " + n.Text }

// MaxNotes is how many notes of each kind a Result has at most.
const MaxNotes = 100

// A Result says what was read.
type Result struct {
	Added, Changed, Deleted int64
	// Size of the tar, in bytes, and how many entries it has. No entries: there is
	// no difference.
	Size    int64
	Entries int64
	// Skipped is what is not in the layer, and Altered what is there in another
	// form: the first MaxNotes of each.
	Skipped, Altered           []Note
	SkippedCount, AlteredCount int64
}

// The classes of error.
var (
	// ErrForeign: the upper was written by an overlay with options that move
	// parts of files and folders elsewhere.
	ErrForeign = errors.New("the overlay was mounted with options that Lamina does not use")
	// ErrPattern: an exclusion that cannot be read.
	ErrPattern = errors.New("invalid pattern")
	// ErrLimit: more than can be read or stored.
	ErrLimit = errors.New("limit exceeded")
)
