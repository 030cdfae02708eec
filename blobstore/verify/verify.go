// Package verify reads back what a store has, and says what is not as it should
// be.
//
// A run has phases. "manifests" walks through the repositories: links, tags,
// referrers and manifests, and notes which digests these name. "blobs" goes
// through the records of the blobs in the order of their digests, and hashes
// every copy of every blob. "data" compares the data objects that there are with
// those that records name. "records" looks at what else is kept: layers,
// snapshots, nodes, uploads. Only when something is bad, "images" walks once more
// to find out which images it is in, and "repair" puts back what can be.
//
// # Others work meanwhile
//
// Pushes, deletions and collections go on during a run. So what looks bad is
// looked at again, by what is in the bucket then: a blob that was collected, an
// image that was deleted, a record that was changed in between is no finding.
// Bytes that do not match are read a second time, since a flip on the way is no
// verdict on what is stored; if they still do not, the copy is quarantined.
//
// # Broken off
//
// Reading takes hours where much is stored. How far it has come is kept in the
// bucket (stats/verification), and a run with the same options goes on there:
// bytes that were hashed are not read again but for those of the blobs that were
// under way. Records and manifests are, since what they name is not kept.
//
// Memory does not grow with the store: sets of digests are sorted in files.
package verify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
)

// ErrInvalid is the class of a run whose options are none.
var ErrInvalid = errors.New("invalid verification")

// Options of a Verifier; the zero value is the default.
type Options struct {
	Logger *slog.Logger // slog.Default()
	// Temp is the folder for the sorted sets: os.TempDir().
	Temp string
	// SaveEvery is how often the place is saved at which a run goes on when it
	// is broken off: after 10 s, or SaveBlobs blobs (1,000), whichever is sooner.
	SaveEvery time.Duration
	SaveBlobs int
}

// RunOptions say what to read; the zero value means everything, as fast as it
// goes, and nothing is repaired.
type RunOptions struct {
	// Repositories are patterns (package pattern). With any, only what these
	// repositories name is looked at, and data and records that no image names
	// are not.
	Repositories []string
	// Sample is which part of the blobs is read, over 0 and at most 1; 0 means
	// all. Records are looked at in any case. Which blobs it is depends on
	// their digests and Seed alone: the same ones each time, and those of the
	// seeds 0 to 1/Sample-1 together are all.
	Sample float64
	Seed   uint64
	// Rate is how many bytes of data a second are read; 0: as many as come.
	Rate int64
	// Repair puts back what is bad from what the store still has of it, or from
	// From if that is not nil.
	Repair bool
	From   Source
	// Restart begins anew, not where the last run was broken off.
	Restart bool
	// Parallel is how many blobs are read at once: twice the processors.
	Parallel int
	// Progress is told now and then how far the run is; Each of every finding,
	// once, when it is known what became of it. Neither is called by two
	// goroutines at once. Both may be nil.
	Progress func(Progress)
	Each     func(Finding)
}

// A Source has blobs that may replace what is bad here. Its methods may be called
// by several goroutines at once.
type Source interface {
	// Open reads the whole blob d. size is how many bytes it has, -1 when that
	// is not known. What it delivers need not be checked. An error means that it
	// has no such blob, or cannot be asked.
	Open(ctx context.Context, d digest.Digest, size int64) (io.ReadCloser, error)
	// String says what it is, for people.
	String() string
}

// Progress is how far a run is.
type Progress struct {
	// Phase is "manifests", "blobs", "data", "records", "images" or "repair".
	Phase string
	// Done things of Total; 0 when that is not known.
	Done, Total int64
	// Bytes of data read, in all phases, and how many there are to read: as many
	// as the last run read, 0 when there was none.
	Bytes, TotalBytes int64
	Bad               int64 // found so far
}

// A Verifier verifies. Safe for concurrent use; each Run is by itself, and of
// several with the same options the place is kept of the last that began.
type Verifier struct {
	store   *blobstore.Store
	images  *images.Images
	fleet   *fleet.Fleet
	options Options
	log     *slog.Logger
}

// New returns a Verifier of what s has. It holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images, o Options) *Verifier {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.SaveEvery == 0 {
		o.SaveEvery = 10 * time.Second
	}
	if o.SaveBlobs == 0 {
		o.SaveBlobs = 1000
	}
	return &Verifier{store: s, images: im, fleet: fleet.New(s, im), options: o, log: o.Logger}
}

func (o RunOptions) withDefaults() RunOptions {
	if o.Sample == 0 {
		o.Sample = 1
	}
	if o.Parallel <= 0 {
		o.Parallel = 2 * runtime.GOMAXPROCS(0)
	}
	return o
}
