package schedule

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Search is a random walk: one episode of many steps, with four servers, two of
// which collect, all of it determined by a seed.
type Search struct {
	Seed    uint64
	Steps   int
	Patient bool // the bucket does not refuse late writes
}

// An Outcome is what an episode has shown.
type Outcome struct {
	Broken string         // what is wrong, "" if nothing is
	Steps  int            // that were made
	Counts map[string]int // how often things have happened
	Trace  []step         // in order
}

// Tail is the end of the trace, for a message.
func (o Outcome) Tail(n int) string {
	var b strings.Builder
	for i := max(0, len(o.Trace)-n); i < len(o.Trace); i++ {
		fmt.Fprintf(&b, "%d\t%s\n", i+1, o.Trace[i])
	}
	return b.String()
}

// A mood is how likely things are in one episode: different in each, since rare
// things meet only where they are not rare.
type mood struct {
	faults, stalls, deaths float64
	short, long            float64 // time steps
	clients                int     // at once
	stay                   float64 // the process that made the last step makes the next
	writers                bool    // more pushes and deletions than reads
}

func newMood(r *rand.Rand) mood {
	pick := func(fs ...float64) float64 { return fs[r.IntN(len(fs))] }
	return mood{
		faults: pick(0, .01, .05, .15), stalls: pick(0, .01, .03), deaths: pick(0, 0, .002, .006),
		short: pick(.02, .1), long: pick(.002, .01, .03, .06),
		clients: 1 + r.IntN(6), stay: pick(0, .5, .8, .9), writers: r.IntN(2) == 0,
	}
}

// The amounts by which time passes: just under and just over what the store
// goes by.
var (
	shortWaits = []time.Duration{time.Millisecond, 900 * time.Millisecond, 1100 * time.Millisecond, 3 * time.Second, time.Minute, 4 * time.Minute, 6 * time.Minute, 11 * time.Minute}
	longWaits  = []time.Duration{
		14 * time.Minute, 16 * time.Minute, time.Hour, 6 * time.Hour, Grace/4 - time.Minute, Grace/4 + time.Minute,
		Drain - time.Minute, Drain + 11*time.Minute, Grace/4*3 - time.Minute, Grace/4*3 + time.Minute,
		Grace - 6*time.Minute, Grace - time.Minute, Grace + time.Minute, Grace + 11*time.Minute,
		Grace + PublishWithin + Drain + time.Hour,
	}
)

// Run runs the episode.
func (s Search) Run(t *testing.T) (o Outcome) {
	Run(t, Config{Patient: s.Patient, OneKey: s.Seed%3 == 0, Seed: s.Seed}, func(w *World) {
		r := rand.New(rand.NewPCG(s.Seed, 1))
		x := &walk{World: w, rand: r, mood: newMood(r)}
		for i, skew := range []time.Duration{-Skew / 2, Skew / 2, 0, time.Minute} {
			x.servers = append(x.servers, w.Start(fmt.Sprintf("s%d", i), skew))
		}
		w.shut()
		for x.broken() == "" && len(w.trace) < s.Steps {
			x.step()
		}
		if x.broken() == "" {
			x.end()
		}
		o = Outcome{Broken: x.broken(), Steps: len(w.trace), Counts: w.judge.counts, Trace: w.trace}
	})
	return o
}

// A walk is an episode under way.
type walk struct {
	*World
	rand    *rand.Rand
	mood    mood
	servers []*Process
	started int // servers, those that replace dead ones included
	last    *Process
}

func (x *walk) broken() string { return x.judge.check() }

func (x *walk) chance(p float64) bool { return x.rand.Float64() < p }

// step makes one step.
func (x *walk) step() {
	pending := x.quiet()
	now := time.Now()
	ready := slices.DeleteFunc(slices.Clone(pending), func(c *call) bool { return c.stalled.After(now) })
	switch {
	case x.chance(x.mood.long) && x.chance(.5), len(ready) == 0 && len(pending) > 0 && x.chance(.2):
		x.wait(longWaits[x.rand.IntN(len(longWaits))])
	case x.chance(x.mood.short):
		x.wait(shortWaits[x.rand.IntN(len(shortWaits))])
	case len(x.late) > 0 && x.chance(.05):
		x.land(x.late[x.rand.IntN(len(x.late))], x.chance(.8))
	case x.chance(x.mood.deaths):
		x.replace(x.rand.IntN(len(x.servers)))
	case x.busy() < x.mood.clients && x.chance(.3), len(pending) == 0 && x.busy() == 0:
		x.start()
	case len(ready) == 0:
		x.wait(shortWaits[x.rand.IntN(len(shortWaits))])
	default:
		x.let(x.choose(ready))
	}
}

// choose picks a call, of the last process more often than of another.
func (x *walk) choose(ready []*call) *call {
	if x.last != nil && x.chance(x.mood.stay) {
		same := slices.DeleteFunc(slices.Clone(ready), func(c *call) bool { return c.process != x.last })
		if len(same) > 0 {
			ready = same
		}
	}
	c := ready[x.rand.IntN(len(ready))]
	x.last = c.process
	return c
}

// let lets a call meet a fate, or stalls it.
func (x *walk) let(c *call) {
	switch {
	case x.chance(x.mood.stalls):
		c.stalled = time.Now().Add(time.Duration(x.rand.Int64N(int64(2 * Grace))))
		x.note("%s stalls", c)
		x.judge.count("stalled call")
	case !x.chance(x.mood.faults):
		x.do(c, passes)
	case c.write:
		f := fate(1 + x.rand.IntN(4))
		x.judge.count("fault" + fates[f])
		x.do(c, f)
	default:
		x.do(c, fails)
	}
}

// replace kills a server and starts another.
func (x *walk) replace(i int) {
	x.judge.count("server died")
	old := x.servers[i]
	x.kill(old)
	synctest.Wait()
	x.started++
	x.servers[i] = x.Start(fmt.Sprintf("s%d.%d", i, x.started), old.skew)
}

// start starts an operation of a client, or a cycle of a collector.
func (x *walk) start() {
	r := x.rand
	p := x.servers[r.IntN(len(x.servers))]
	repo := repositories[r.IntN(len(repositories))]
	i, b := shelf[r.IntN(len(shelf))], library[r.IntN(len(library))]
	if b.name == parts.name && x.chance(.7) || i.name == third.name && x.chance(.7) { // large ones are slow
		i, b = first, large1
	}
	tag := tagNames[r.IntN(len(tagNames))]
	n := r.IntN(100)
	if collectors := x.servers[:2]; n < 20 {
		p = collectors[r.IntN(2)]
		x.note("%s collects", p.Name)
		full := r.IntN(8) == 0
		p.Go(func(ctx context.Context) { _ = p.Collect(ctx, full) })
		return
	}
	what, f := x.operation(p, repo, i, b, tag, n)
	x.note("%s: %s", p.Name, what)
	p.Go(func(ctx context.Context) { _ = f(ctx) })
}

func (x *walk) operation(p *Process, repo repository, i libraryImage, b libraryBlob, tag tagName, n int) (string, func(context.Context) error) {
	r := x.rand
	if x.mood.writers && n >= 80 {
		n = 20 + r.IntN(30)
	}
	switch {
	case n < 30:
		return fmt.Sprintf("push %s to %s:%s", i.name, repo, tag), func(ctx context.Context) error { return p.Push(ctx, repo, i, tag) }
	case n < 34:
		return fmt.Sprintf("put %s to %s", i.name, repo), func(ctx context.Context) error { return p.Put(ctx, repo, i) }
	case n < 46:
		return fmt.Sprintf("delete %s of %s", i.name, repo), func(ctx context.Context) error { return p.Delete(ctx, repo, i) }
	case n < 52:
		return fmt.Sprintf("upload %s to %s", b.name, repo), func(ctx context.Context) error { return p.Upload(ctx, repo, b) }
	case n < 56:
		other := x.servers[r.IntN(len(x.servers))]
		cutAt := r.IntN(len(b.bytes))
		return fmt.Sprintf("upload %s to %s, from byte %d by %s", b.name, repo, cutAt, other.Name),
			func(ctx context.Context) error { return p.UploadByTwo(ctx, other, repo, b, cutAt) }
	case n < 59:
		abort := x.chance(.5)
		return fmt.Sprintf("begin to upload %s to %s", b.name, repo), func(ctx context.Context) error { p.Abandon(ctx, repo, b, abort); return nil }
	case n < 63:
		return fmt.Sprintf("mount %s from a to b", b.name), func(ctx context.Context) error { return p.Mount(ctx, "b", "a", b) }
	case n < 65:
		return fmt.Sprintf("unlink %s of %s", b.name, repo), func(ctx context.Context) error { return p.Unlink(ctx, repo, b) }
	case n < 69:
		return fmt.Sprintf("tag %s:%s as %s", repo, tag, i.name), func(ctx context.Context) error { return p.Tag(ctx, repo, tag, i) }
	case n < 71:
		return fmt.Sprintf("untag %s:%s", repo, tag), func(ctx context.Context) error { return p.Untag(ctx, repo, tag) }
	case n < 81:
		return fmt.Sprintf("stat %s of %s", b.name, repo), func(ctx context.Context) error { return p.Stat(ctx, repo, b.digest) }
	case n < 88:
		return fmt.Sprintf("read %s of %s", b.name, repo), func(ctx context.Context) error { return p.Read(ctx, repo, b) }
	default:
		return fmt.Sprintf("pull %s of %s", i.name, repo), func(ctx context.Context) error { return p.Pull(ctx, repo, i) }
	}
}

// end lets everything come to rest, and looks whether what was acknowledged is
// there, walls stand, and all garbage goes.
func (x *walk) end() {
	x.settle()
	for len(x.late) > 0 {
		x.land(x.late[0], x.chance(.5))
	}
	x.shut()
	x.rest()
}
