// Package schedule runs the real code of the store (stores, images, uploads,
// collectors) one bucket call at a time, so that tests can look for the order of
// events that breaks an invariant (design, section 4).
//
// A World has one bucket in memory and several processes. Each call that a
// process makes to the bucket stops at a gate; a controller decides which one is
// next and what becomes of it: it happens; it happens and the answer is lost; it
// fails; its caller hears nothing and it happens later; its process dies. The
// time is that of a testing/synctest bubble and passes only when the controller
// says so; each process has a clock that is off by a little. So a run is
// determined by its choices, which come from a seed (Search) or from a depth
// first search (Explore).
//
// A judge looks at the bucket after each step (see judge.go).
//
// Only tests import this package.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// Times of every simulated server: the defaults, which the time steps refer to.
const (
	Grace         = 72 * time.Hour
	Skew          = 5 * time.Minute
	PublishWithin = 24 * time.Hour
	Drain         = 24 * time.Hour
)

// Config is how a World behaves.
type Config struct {
	// Patient is a bucket that does not refuse late writes.
	Patient bool
	// OneKey has listings of repos/ give one key at a step.
	OneKey bool
	// Few leaves out steps that no claim depends on: calls to what only collectors
	// use and to the catalog; and a collector makes one call at a time.
	Few bool
	// Seed of the random names that the store makes.
	Seed uint64
}

// A World is a bucket and the processes that use it. It lives in one bubble.
type World struct {
	t      *testing.T
	config Config
	bucket *memory.Bucket
	judge  *judge

	mu        sync.Mutex
	open      bool // calls do not stop
	pending   []*call
	late      []*call // writes whose callers gave up
	arrived   int
	running   int // operations
	processes []*Process
	names     map[string]string
	trace     []step
}

// A Process is a server.
type Process struct {
	Name   string
	world  *World
	skew   time.Duration
	dead   bool
	free   bool // its calls do not stop
	ctx    context.Context
	stop   context.CancelFunc
	Store  *blobstore.Store
	Images *images.Images
	fleet  *fleet.Fleet
}

// Run makes a World in a bubble of its own, calls f in it, and takes it down.
func Run(t *testing.T, c Config, f func(*World)) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, c.Seed)
		w := &World{
			t: t, config: c, open: true, names: map[string]string{},
			bucket: memory.New(memory.Options{MinPart: 1, Now: time.Now}),
		}
		w.judge = newJudge(w)
		defer w.close()
		f(w)
	})
}

// Start starts a server whose clock is off by skew.
func (w *World) Start(name string, skew time.Duration) *Process {
	p := &Process{Name: name, world: w, skew: skew}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.Store = blobstore.New(&gated{w.bucket, p}, blobstore.Options{
		Clock: clock{p}, Logger: storetest.Quiet(),
		Grace: Grace, Skew: Skew, PublishWithin: PublishWithin, Drain: Drain,
		PartSize: 256 << 10, PartBuffers: 4, RecentBytes: 1 << 20,
	})
	p.Images = images.New(p.Store, nil, images.Options{Logger: storetest.Quiet()})
	p.fleet = fleet.New(p.Store, p.Images)
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	return p
}

// Now is the time by the process's clock.
func (p *Process) Now() time.Time { return time.Now().Round(0).Add(p.skew) }

// A clock is a process's.
type clock struct{ p *Process }

func (c clock) Now() time.Time { return c.p.Now() }

func (c clock) Sleep(ctx context.Context, d time.Duration) error {
	w := c.p.world
	w.mu.Lock()
	free := w.open || c.p.free
	w.mu.Unlock()
	if free {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.p.ctx.Done():
		return errCut
	}
}

// Go runs f as an operation of the process. It ends when the process dies.
func (p *Process) Go(f func(ctx context.Context)) {
	w := p.world
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	go func() {
		defer func() {
			w.mu.Lock()
			w.running--
			w.mu.Unlock()
		}()
		f(p.ctx)
	}()
}

// quiet waits until every operation stands at the gate or sleeps, and returns
// the calls at the gate in an order that is the same in every run.
func (w *World) quiet() []*call {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.pending, func(a, b *call) int {
		return cmp.Or(strings.Compare(a.process.Name, b.process.Name), a.number-b.number)
	})
	for _, c := range w.pending {
		if c.name == "" {
			c.name = w.canonical(c.keys[0])
		}
	}
	slices.SortFunc(w.pending, func(a, b *call) int {
		return cmp.Or(strings.Compare(a.process.Name, b.process.Name), strings.Compare(a.op, b.op),
			strings.Compare(a.name, b.name), a.number-b.number)
	})
	return slices.Clone(w.pending)
}

// busy says how many operations have not ended.
func (w *World) busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

// leave takes a call whose caller has gone from the gate. The lock is held.
func (w *World) leave(c *call) {
	c.over = true
	w.pending = slices.DeleteFunc(w.pending, func(o *call) bool { return o == c })
	if c.write {
		w.late = append(w.late, c)
	}
}

// What becomes of a call.
type fate int

const (
	passes  fate = iota // it happens, and is answered
	loses               // it happens, and the answer is lost
	fails               // it does not happen
	delays              // its caller is told nothing; it may happen later
	repeats             // it happens, the answer is lost, and the client below sends it again
)

var fates = []string{"", " (answer lost)", " (fails)", " (delayed)", " (and again)"}

// do lets one call that stands at the gate meet its fate.
func (w *World) do(c *call, f fate) {
	w.note("%s%s", c, fates[f])
	if f == repeats {
		c.repeated = true
		_, _ = w.effect(c)
		return
	}
	a := answer{err: errCut}
	switch f {
	case passes:
		a.value, a.err = w.effect(c)
	case loses:
		_, _ = w.effect(c)
	}
	w.mu.Lock()
	if f == delays {
		w.leave(c)
	} else {
		c.over = true
		w.pending = slices.DeleteFunc(w.pending, func(o *call) bool { return o == c })
	}
	w.mu.Unlock()
	c.answer <- a
}

// longestRead is how long a read may take and reach its end: it began with a
// promise of three quarters of the grace, and then comes the drain.
const longestRead = Grace/4*3 + Drain - time.Hour

// effect makes a call happen.
func (w *World) effect(c *call) (any, error) {
	v, err := c.run()
	switch {
	case c.write && err == nil:
		w.judge.changed(c)
	case c.op == "get" && !c.reading.IsZero() && errors.Is(err, bucket.ErrNotExist) && strings.HasPrefix(c.keys[0], "data/"):
		if took := time.Since(c.reading); took < longestRead {
			w.judge.wrong("a read met data that was deleted, %v after it had begun", took)
		}
	}
	return v, err
}

// land lets a late write happen, or not at all.
func (w *World) land(c *call, happens bool) {
	w.mu.Lock()
	w.late = slices.DeleteFunc(w.late, func(o *call) bool { return o == c })
	w.mu.Unlock()
	w.note("late: %s%s", c, map[bool]string{true: "", false: " never happens"}[happens])
	if !happens {
		return
	}
	if _, err := c.run(); err == nil {
		w.judge.late(c)
		w.judge.changed(c)
	}
}

// kill makes a process die: what it has asked for may still happen.
func (w *World) kill(p *Process) {
	w.note("%s dies", p.Name)
	w.mu.Lock()
	p.dead = true
	var cuts []*call
	for _, c := range slices.Clone(w.pending) {
		if c.process == p {
			w.leave(c)
			cuts = append(cuts, c)
		}
	}
	w.mu.Unlock()
	for _, c := range cuts {
		c.answer <- answer{err: errCut}
	}
	p.stop()
}

// pass lets the time pass.
func (w *World) wait(d time.Duration) {
	w.note("%v pass", d)
	time.Sleep(d)
}

// settle opens the gate: what is under way goes on to its end by itself.
func (w *World) settle() {
	synctest.Wait()
	w.mu.Lock()
	w.open = true
	pending := w.pending
	w.pending = nil
	for _, c := range pending {
		c.over = true
	}
	w.mu.Unlock()
	for _, c := range pending {
		v, err := w.effect(c)
		c.answer <- answer{v, err}
	}
	for range 200 {
		synctest.Wait()
		if w.busy() == 0 {
			return
		}
		time.Sleep(time.Minute)
	}
	w.t.Errorf("%d operations do not come to an end", w.busy())
}

// shut closes the gate: from now on every call stops.
func (w *World) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = false
}

func (w *World) close() {
	for _, p := range w.processes {
		if !p.dead {
			w.kill(p)
		}
	}
	for _, p := range w.processes {
		_ = p.Store.Close(context.Background())
	}
	synctest.Wait()
}

// passesAtOnce says that a call need not stop: see Config.Few.
func (w *World) passesAtOnce(key string) bool {
	return w.config.Few && (strings.HasPrefix(key, "leases/") || strings.HasPrefix(key, "stats/") ||
		strings.HasPrefix(key, "nodes/") || strings.HasPrefix(key, "catalog/") || strings.HasPrefix(key, "snapshots/"))
}

// page is how many keys a listing gives at a step.
func (w *World) page(prefix string) int {
	if w.config.OneKey && strings.HasPrefix(prefix, "repos/") {
		return 1
	}
	return 1000
}

// A step of the trace, put into words only when somebody wants to read it.
type step struct {
	format string
	args   []any
}

func (s step) String() string { return fmt.Sprintf(s.format, s.args...) }

func (w *World) note(format string, args ...any) { w.trace = append(w.trace, step{format, args}) }

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// kindOf is what stands between the first folder and the digest of a key.
func kindOf(key string) string {
	if !strings.HasPrefix(key, "repos/") {
		return ""
	}
	return strings.TrimPrefix(key[:strings.LastIndexByte(key, '/')+1], "repos/")
}

var ulids = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`)

// canonical gives a key a name that does not depend on chance. The lock is held.
func (w *World) canonical(key string) string {
	if i := strings.LastIndexAny(key, "/:"); i >= 0 && hexDigest.MatchString(key[i+1:]) {
		return key[:strings.IndexByte(key, '/')+1] + kindOf(key) + nameOf(digest.NewDigestFromEncoded(digest.SHA256, key[i+1:]))
	}
	return ulids.ReplaceAllStringFunc(key, func(id string) string {
		if _, ok := w.names[id]; !ok {
			w.names[id] = fmt.Sprintf("#%03d", len(w.names)+1)
		}
		return w.names[id]
	})
}
