package collect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/internal/failpoint"
)

// What the sorted runs of a cycle take in memory at most, in bytes. Each may
// take 2 MiB more while it is read.
const (
	markedMemory = 16 << 20
	linksMemory  = 16 << 20
	levelMemory  = 8 << 20
	smallMemory  = 4 << 20
)

// maxLevels is how deep indexes are followed: a repository accepts no manifest
// that lies deeper.
const maxLevels = 8

// progressEvery is how many things are done between two words of progress.
const progressEvery = 256

// phaseDone is a step at which a test kills the process.
var phaseDone = failpoint.New("collect-phase-done")

// A cycle is one run of a collector.
type cycle struct {
	*Collector
	o     RunOptions
	count bool      // only mark, and look through what is not marked
	began time.Time // before the mark's first listing
	last  Report    // of the cycle before, for estimates
	tally Tally

	retired *runs.Sorter // with a dry run, keys of links that retention would remove
	marked  *runs.Sorter // digest, held or not
	links   *runs.Sorter // digest, repository: links to blobs
	levels  []*runs.Sorter
	lives   *runs.Sorter // repository, digest, generation: live links of manifests
	names   *runs.Sorter // repository, tags and referrers
	dead    *runs.Sorter // names that do not count any more
	gone    *runs.Sorter // digests of blobs that are gone
	sorters []*runs.Sorter

	large sync.Mutex // held while a large manifest is read

	mu     sync.Mutex // of all below, and of calls to o and tally
	report Report
	phase  Progress
}

// newCycle returns a cycle that has not begun. Close it. One that only counts, and
// one that is not dry, tell Options.Tally.
func (c *Collector) newCycle(o RunOptions, count bool) *cycle {
	cy := &cycle{Collector: c, o: o, count: count, tally: silence{}}
	if c.options.Tally != nil && (!o.DryRun || count) {
		cy.tally = c.options.Tally()
	}
	for _, s := range []struct {
		sorter **runs.Sorter
		memory int
	}{
		{&cy.retired, smallMemory}, {&cy.marked, markedMemory}, {&cy.links, linksMemory}, {&cy.lives, smallMemory},
		{&cy.names, smallMemory}, {&cy.dead, smallMemory}, {&cy.gone, smallMemory},
	} {
		*s.sorter = cy.sorter(s.memory)
	}
	return cy
}

func (c *cycle) sorter(memory int) *runs.Sorter {
	if c.options.memory > 0 {
		memory = c.options.memory
	}
	s := runs.New(c.options.Temp, memory)
	c.sorters = append(c.sorters, s)
	return s
}

func (c *cycle) close() {
	for _, s := range c.sorters {
		if err := s.Close(); err != nil {
			c.log.Warn("a temporary file of the collection was not closed", "error", err)
		}
	}
}

// run does all phases.
func (c *cycle) run(ctx context.Context) error {
	if c.options.Began != nil && !c.o.DryRun {
		c.options.Began()
	}
	c.report = Report{Began: c.store.Clock().Now().UTC(), DryRun: c.o.DryRun, Full: c.o.Full, Holder: c.options.Holder}
	phases := []struct {
		name string
		do   func(context.Context) error
	}{
		{PhaseRetention, c.retain}, {PhaseMark, c.mark}, {PhaseSweep, c.sweep}, {PhaseUploads, c.uploads},
		{PhaseLinks, c.sweepLinks}, {PhaseRecords, c.records}, {PhaseData, c.data},
	}
	if c.count {
		phases = phases[1:3]
	}
	for _, p := range phases {
		c.begin(p.name)
		if err := p.do(ctx); err != nil {
			return fmt.Errorf("collection, %s: %w", p.name, err)
		}
		phaseDone.Hit()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("collection, %s: %w", p.name, err)
		}
	}
	return nil
}

// end ends the tally, keeps and returns the report, and logs how it went.
func (c *cycle) end(ctx context.Context, err error) (Report, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.tally.Done()
	} else {
		c.tally.Drop()
	}
	r := &c.report
	r.Ended = c.store.Clock().Now().UTC()
	r.Succeeded = r.Ended
	if err != nil {
		r.Error, r.Succeeded = err.Error(), c.last.Succeeded
	}
	if c.o.DryRun {
		return *r, err
	}
	if c.options.Ended != nil {
		c.options.Ended(*r)
	}
	log := c.log.With("took", r.Ended.Sub(r.Began), "full", r.Full, "manifests", r.Manifests, "blobs", r.Listed,
		"condemned", r.Condemned, "collected", r.Collected, "freed_bytes", r.FreedBytes, "waiting_bytes", r.WaitingBytes, "problems", r.ProblemsTotal)
	if err != nil && ctx.Err() != nil {
		log.Info("a collection was broken off; another will go on", "error", err)
		return *r, err
	}
	if kerr := c.keep(ctx, *r); kerr != nil {
		err = errors.Join(err, fmt.Errorf("keep the report of the collection: %w", kerr))
	}
	if err != nil {
		log.Error("a collection did not come to its end; nothing was condemned that should not be", "error", err)
		return *r, err
	}
	log.Info("collected what nothing names")
	return *r, nil
}

// retain has the rules remove what they say. What they would remove is no root
// for the mark of a dry run.
func (c *cycle) retain(ctx context.Context) error {
	if c.options.Retain == nil {
		return nil
	}
	var failed error
	err := c.options.Retain(ctx, c.o.DryRun, func(f Finding) {
		c.found(f)
		c.mu.Lock()
		defer c.mu.Unlock()
		switch f.Kind {
		case KindTag:
			c.report.TagsRemoved++
		case KindManifest:
			c.report.ManifestsRemoved++
			if c.o.DryRun {
				failed = errors.Join(failed, c.retired.Add([]byte(manifestKey(f.Repository, f.Subject))))
			}
		}
	})
	return errors.Join(err, failed)
}

// found tells of a finding.
func (c *cycle) found(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(f)
}

func (c *cycle) tell(f Finding) {
	if c.o.Each != nil {
		c.o.Each(f)
	}
}

// problem notes something that the cycle goes on from.
func (c *cycle) problem(subject, repo, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.ProblemsTotal++
	if len(c.report.Problems) < MaxProblems {
		c.report.Problems = append(c.report.Problems, Problem{subject, repo, fmt.Sprintf(format, args...)})
	}
}

// wait notes bytes that a later cycle will free.
func (c *cycle) wait(bytes int64, until time.Time) {
	c.report.WaitingBytes += bytes
	if bytes > 0 && until.After(c.report.WaitingUntil) {
		c.report.WaitingUntil = until
	}
}

// freed counts bytes that were given back.
func (c *cycle) freed(bytes int64) {
	if bytes > 0 {
		c.report.FreedBytes += bytes
		c.report.FreedObjects++
	}
}

// begin says that a phase begins.
func (c *cycle) begin(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = Progress{Phase: phase}
	switch phase {
	case PhaseMark:
		c.phase.Total = c.last.Named + c.last.Manifests
	case PhaseSweep:
		c.phase.Total = c.last.Listed
	case PhaseUploads:
		c.phase.Total = c.last.UploadsListed
	}
	c.say()
}

// step counts a thing that was looked at.
func (c *cycle) step() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase.Done++
	if c.phase.Done%progressEvery == 0 {
		c.say()
	}
}

func (c *cycle) say() {
	if c.o.Progress == nil {
		return
	}
	p := c.phase
	p.Bytes = c.report.FreedBytes
	if p.Total > 0 {
		p.Total = max(p.Total, p.Done)
	}
	c.o.Progress(p)
}

// parallel returns a group of goroutines of which as many run at once as the
// options say, and the context that ends when one of them fails.
func (c *cycle) parallel(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.options.Parallel)
	return g, ctx
}

// each calls do for every string of a sorter, several at once, until one fails.
// do gets a string of its own.
func (c *cycle) each(ctx context.Context, s *runs.Sorter, do func(context.Context, []byte) error) error {
	g, gctx := c.parallel(ctx)
	var failed error
	for b, err := range s.Sorted() {
		if err != nil {
			failed = err
			break
		}
		if gctx.Err() != nil {
			break
		}
		b = append([]byte(nil), b...)
		g.Go(func() error { return do(gctx, b) })
	}
	return errors.Join(g.Wait(), failed)
}

// silentBefore is the time of the last word of a node that is silent.
func (c *cycle) silentBefore() time.Time {
	return c.began.Add(-fleet.SilentAfter - 2*c.store.Options().Skew)
}

// forgetBefore is the time before which a tombstone was made that can go: no
// write that was sent before it is still on its way.
func (c *cycle) forgetBefore() time.Time {
	age, _ := c.store.TombstoneAge()
	return c.began.Add(-age)
}

// unknown says whether err is that of a blob that is not there.
func unknown(err error) bool { return errors.Is(err, blobstore.ErrBlobUnknown) }
