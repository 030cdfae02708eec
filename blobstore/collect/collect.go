// Package collect gives back the storage that nothing names any more, while
// pushes, pulls and other collectors go on: it takes no lock and stops nobody.
//
// A cycle marks and then sweeps. The mark begins with the roots: every live
// link of a manifest in any repository, whatever its tags; the images and diffs
// of registered snapshots; the images that nodes report which were not silent
// for [fleet.SilentAfter]. It follows what these name. The sweep walks through
// the records of all blobs and has [blobstore.Store.Judge] take the next step
// for each that the mark did not reach: live to condemned, condemned to gone,
// gone to deleted, each at least a cycle apart. Then it deals with what uploads
// have left, with links to blobs that are gone, and with other records that are
// over. Every 30 days a full cycle also reads all records and lists all data,
// for what nothing leads to.
//
// # Safety
//
// Lists of a bucket are no snapshots of it: a manifest that is pushed, or moved
// from one repository to another, while the mark lists may not be seen. Safety
// comes from promises instead: to name a blob is to promise it first, a blob is
// condemned only if its promise ended before the mark began, and gone only if
// it was condemned before the mark began. So a blob that a mark has missed
// stays until the next mark, which sees its name. When something cannot be
// read, the mark fails and nothing is condemned.
//
// Any number of collectors may run at once, on any servers. A lease keeps those
// that run by schedule from doing the same work twice; safety never depends on
// it. One that is killed leaves records that another goes on from.
//
// # Memory and calls
//
// What is marked is kept in sorted files on disk (package runs), and memory is
// bounded whatever the size of the store. A blob that is kept costs its share of
// a listing and no call of its own.
package collect

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/realm"
)

// Options of a Collector; zero values mean the defaults.
type Options struct {
	Logger *slog.Logger // slog.Default()
	// Every is the time between cycles of Loop: 24 h. FullEvery is that between
	// full ones: 30 days.
	Every, FullEvery time.Duration
	// Temp is the folder for sorted runs, which are files without a name there:
	// os.TempDir(). A mark takes some 100 bytes for each blob.
	Temp string
	// Parallel is how many calls to the bucket a cycle makes at once: 16.
	Parallel int
	// Realms tells the realm of each repository; the zero Map has one for all.
	Realms realm.Map
	// Retain removes the tags and manifests that rules say, or with dry only
	// says which: each removal is reported, as Kind "tag" or "manifest". It runs
	// before the mark begins. Nil: nothing is removed.
	Retain func(ctx context.Context, dry bool, report func(Finding)) error
	// Tally returns what is told what a mark counts, anew for each cycle. Nil:
	// nobody is.
	Tally func() Tally
	// Holder names this server in the lease and in reports.
	Holder string
	// Progress is told how far a cycle by schedule is; it must not block.
	Progress func(Progress)
	// Began is told that a cycle begins which is no dry run, by schedule or by
	// hand, and Ended its report at the end, also of one that failed. Neither may
	// block.
	Began func()
	Ended func(Report)

	memory int // of each sorter; for tests
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Every <= 0 {
		o.Every = 24 * time.Hour
	}
	if o.FullEvery == 0 {
		o.FullEvery = 30 * 24 * time.Hour
	}
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	return o
}

// A Collector collects. Safe for concurrent use.
type Collector struct {
	store   *blobstore.Store
	images  *images.Images
	fleet   *fleet.Fleet
	options Options
	log     *slog.Logger
}

// New returns a Collector. It holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images, f *fleet.Fleet, o Options) *Collector {
	o = o.withDefaults()
	return &Collector{store: s, images: im, fleet: f, options: o, log: o.Logger}
}

// RunOptions say how a cycle by hand is done.
type RunOptions struct {
	DryRun bool // change nothing, only say what would be done
	Full   bool // look through all data and all records
	// Progress is told now and then how far the cycle is, and Each everything
	// that is done, or would be. Calls of them come one after another, and must
	// not take long.
	Progress func(Progress)
	Each     func(Finding)
}

// Run does one cycle now, whoever holds the lease, and keeps its report unless
// it was a dry run. The report is what was done until then, also with an error.
// Errors: bucket.ErrUnavailable when something could not be read;
// blobstore.ErrCorrupt, blobstore.ErrManifestInvalid and record.ErrInvalid when
// a manifest or a record that leads to one is damaged: the message says which,
// and what to do; ctx's error.
func (c *Collector) Run(ctx context.Context, o RunOptions) (Report, error) {
	if o.DryRun {
		return c.cycle(ctx, o)
	}
	l, _, err := c.take(ctx)
	if errors.Is(err, errHeld) { // it runs anyway: two do no harm
		return c.cycle(ctx, o)
	}
	if err != nil {
		return Report{}, err
	}
	var report Report
	err = l.hold(ctx, true, func(ctx context.Context) (err error) {
		report, err = c.cycle(ctx, o)
		return err
	})
	return report, err
}

// Count marks and looks through what is not marked, changes nothing, and tells
// Options.Tally. Errors: as Run.
func (c *Collector) Count(ctx context.Context, progress func(Progress)) error {
	s, err := c.stats(ctx)
	if err != nil {
		return err
	}
	cy := c.newCycle(RunOptions{DryRun: true, Progress: progress}, true)
	defer cy.close()
	cy.last = s.done()
	_, err = cy.end(ctx, cy.run(ctx))
	return err
}
