package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference/pattern"
)

// What a run takes in memory at most, besides its readers: for each of four
// sorted sets, for manifests that were parsed, and in findings.
const (
	sortMemory  = 16 << 20
	parseMemory = 8 << 20
	maxFound    = 10_000
)

// recordsAtOnce is how many records and manifests are read at once.
const recordsAtOnce = 16

// The states of blobs' records.
const (
	live      = "live"
	condemned = "condemned"
	gone      = "gone"
)

// A run is one verification. But for what says otherwise its fields are those of
// the goroutine that Run was called by.
type run struct {
	v        *Verifier
	o        RunOptions
	id       string
	patterns []pattern.Pattern
	pace     *pace
	last     Report // of the last run, for estimates

	bytes  atomic.Int64
	parsed *lru.Cache[digest.Digest, parsed] // by any goroutine
	// must and may are the digests that images name, may of those that need not
	// be here; data are the data objects that records name (nil with patterns).
	must, may, data *runs.Sorter
	// lives has "<digest> <life>" for every link that an image needs.
	lives *runs.Sorter

	mu    sync.Mutex // of what follows, and while a callback runs
	force map[digest.Digest]bool
	at    Progress

	report  Report
	found   []*found
	byBlob  map[digest.Digest]*found
	unnamed []unnamed
	repos   int

	place   placeRecord
	lost    bool // another run has the place
	unsaved int
	savedAt time.Time
}

// Run verifies. It returns the report also when it fails, of what was found until
// then, and a later run goes on from there. That something is bad is no error: see
// Report.Bad.
// Errors: ErrInvalid; blobstore.ErrRepositoryUnknown when no repository is as the
// patterns say; bucket.ErrUnavailable; those of the file system, for Options.Temp;
// ctx's.
func (v *Verifier) Run(ctx context.Context, o RunOptions) (Report, error) {
	r, err := v.newRun(o)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	if err := r.resume(ctx); err != nil {
		return r.report, fmt.Errorf("begin a verification: %w", err)
	}
	if last, err := v.lastReport(ctx); err == nil {
		r.last = last
	}
	r.begin()
	stop := r.tick()
	err = r.phases(ctx)
	stop()
	r.settle()
	r.report.Read, r.report.Bytes = r.place.Read, r.bytes.Load()
	// What has been done is kept also when ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err == nil {
		r.report.Ended, r.place.Ended = r.now(), true
		err = r.keepReport(ctx)
	}
	r.saveNow(ctx)
	return r.report, err
}

func (v *Verifier) newRun(o RunOptions) (*run, error) {
	o = o.withDefaults()
	if !(o.Sample > 0 && o.Sample <= 1) {
		return nil, fmt.Errorf("%w: a sample of %v (give the part of the blobs to read, over 0 and at most 1)", ErrInvalid, o.Sample)
	}
	if o.Rate < 0 {
		return nil, fmt.Errorf("%w: a rate of %d bytes a second (give one over 0, or 0 for none)", ErrInvalid, o.Rate)
	}
	r := &run{
		v: v, o: o, id: rand.Text()[:16], pace: newPace(v.store.Clock(), o.Rate),
		parsed: lru.New[digest.Digest, parsed](parseMemory),
		must:   runs.New(v.options.Temp, sortMemory), may: runs.New(v.options.Temp, sortMemory),
		lives: runs.New(v.options.Temp, sortMemory),
		force: map[digest.Digest]bool{}, byBlob: map[digest.Digest]*found{},
	}
	for _, s := range o.Repositories {
		p, err := pattern.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		r.patterns = append(r.patterns, p)
	}
	if r.patterns == nil {
		r.data = runs.New(v.options.Temp, sortMemory)
	}
	return r, nil
}

func (r *run) close() {
	for _, s := range []*runs.Sorter{r.must, r.may, r.data, r.lives} {
		if s != nil {
			s.Close()
		}
	}
}

// begin takes over what the run that is gone on with has found.
func (r *run) begin() {
	r.report.Began, r.report.Repositories, r.report.Repair = r.place.Began, r.o.Repositories, r.o.Repair
	r.report.Sample, r.report.Seed = r.o.Sample, r.o.Seed
	r.report.Flips = r.place.Flips
	r.bytes.Store(r.place.Bytes)
	r.savedAt = r.place.Saved
	for _, f := range r.place.Found {
		r.add(&found{Finding: f.finding(), digest: f.Digest, size: f.Bytes, sure: true})
	}
}

func (r *run) phases(ctx context.Context) error {
	phases := []func(context.Context) error{r.manifests, r.blobs}
	if r.data != nil {
		phases = append(phases, r.objects, r.records)
	}
	for _, phase := range append(phases, r.affected, r.repair) {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

// phase says that a phase begins, of which the last run counted total things.
func (r *run) phase(name string, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = Progress{Phase: name, Total: total}
	r.tell()
}

// done counts one more thing of the phase.
func (r *run) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.Done++
}

// tell calls Progress. The caller holds mu.
func (r *run) tell() {
	if r.o.Progress == nil || r.at.Phase == "" {
		return
	}
	p := r.at
	p.Total = max(p.Total, p.Done)
	if r.at.Total == 0 {
		p.Total = 0
	}
	p.Bytes, p.TotalBytes = r.bytes.Load(), r.last.Bytes
	r.o.Progress(p)
}

// tick tells of the progress every second until the returned function is called.
func (r *run) tick() (stop func()) {
	if r.o.Progress == nil {
		return func() {}
	}
	ended := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.mu.Lock()
				r.tell()
				r.mu.Unlock()
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		ticking.Wait()
	}
}

// invalid says whether err is of a record that is none, or does not hold what it
// says: a finding, and no failure of the run.
func invalid(err error) bool {
	return errors.Is(err, record.ErrInvalid) || errors.Is(err, blobstore.ErrCorrupt)
}

// A parsed is what a manifest names, or why nobody can tell.
type parsed struct {
	names  images.Names
	absent bool   // it is not in the store
	bad    bool   // its bytes cannot be read
	none   string // it is no manifest: why
}
