package schedule

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// An Explorer goes through every schedule of a scenario within bounds, depth
// first, each from the beginning. Of schedules that differ only in the order of
// calls that do not concern each other it tries one (sleep sets: Godefroid,
// Partial-Order Methods for the Verification of Concurrent Systems, 1996,
// chapter 5).
type Explorer struct {
	// Scenario prepares a World, whose gate is open, and returns what starts the
	// operations when it is shut.
	Scenario func(w *World) (start func())
	Config   Config
	// Preemptions is how often another process may go on although the last one
	// could; Faults how many calls may meet a fate other than to pass. Together
	// with the first bound, sleep sets leave out schedules of which an equal one
	// would need more of it.
	Preemptions, Faults int
	// FailReads has reads fail too, among the Faults.
	FailReads bool
	// Every so many schedules one goes on until all garbage must be gone; 0: none.
	Every int
	// Most is how many schedules are tried, 0 for all.
	Most int
}

// Explored is what an Explorer has seen.
type Explored struct {
	Outcome         // of the schedule that broke something, or of all
	Schedules int   // that were run to the end
	Choices   []int // of the schedule that broke something: which transition at each step
	All       bool  // none within the bounds is left
}

// A transition is one call with its fate, or a late write that lands.
type transition struct {
	id      string
	process string
	call    *call // of the run that made the node; only what never changes is used
	fate    fate
	late    bool
}

// independent says whether two transitions may change places.
func (a transition) independent(b transition) bool {
	return a.process != b.process && a.call.op != opWait && b.call.op != opWait && !a.call.conflicts(b.call)
}

// A node is a state on the way of the current schedule.
type node struct {
	enabled     []transition
	sleep, done []transition
	chosen      int
	last        string // the process that made the step before
	preempted   int
	faults      int
}

// Run explores.
func (e Explorer) Run(t *testing.T) (x Explored) {
	x.Counts = map[string]int{}
	var path []*node
	for {
		var o Outcome
		var whole bool
		path, o, whole = e.schedule(t, path, e.Every > 0 && x.Schedules%e.Every == 0)
		if whole {
			x.Schedules++
		}
		x.Steps += o.Steps
		for what, n := range o.Counts {
			x.Counts[what] += n
		}
		if o.Broken != "" {
			x.Broken, x.Trace = o.Broken, o.Trace
			for _, n := range path {
				x.Choices = append(x.Choices, n.chosen)
			}
			return x
		}
		if path = e.back(path); len(path) == 0 {
			x.All = true
			return x
		}
		if e.Most > 0 && x.Schedules >= e.Most {
			return x
		}
	}
}

// schedule runs the path, and goes on from its end to that of the scenario. It
// returns the path of all nodes; whole is false when the rest is known already.
func (e Explorer) schedule(t *testing.T, path []*node, rest bool) (_ []*node, o Outcome, whole bool) {
	Run(t, e.Config, func(w *World) {
		start := e.Scenario(w)
		synctest.Wait() // what goes on in the background of that
		w.judge.scan()
		w.shut()
		start()
		whole = true
		for depth := 0; ; depth++ {
			pending := w.quiet()
			if w.judge.check() != "" || len(pending) == 0 && w.busy() == 0 {
				break
			}
			if len(pending) == 0 { // somebody sleeps
				w.wait(1100 * time.Millisecond)
				depth--
				continue
			}
			if depth == len(path) {
				n := e.node(path, w.transitions(pending, e.FailReads))
				if n.chosen = e.next(n); n.chosen < 0 {
					whole = false
					break
				}
				path = append(path, n)
			}
			w.take(path[depth], pending)
		}
		if whole && w.judge.check() == "" {
			w.settle()
			if rest {
				w.rest()
			}
		}
		o = Outcome{Broken: w.judge.check(), Steps: len(w.trace), Counts: w.judge.counts, Trace: w.trace}
	})
	return path, o, whole
}

// transitions are what can happen next.
func (w *World) transitions(pending []*call, failReads bool) (ts []transition) {
	seen := map[string]int{}
	add := func(t transition) {
		seen[t.id]++
		t.id = fmt.Sprintf("%s %d", t.id, seen[t.id])
		ts = append(ts, t)
	}
	for _, c := range pending {
		for f := range fates {
			if fate(f) == passes || fate(f) == fails && !c.write && failReads || c.write && fate(f) != fails && !c.repeated {
				add(transition{id: c.String() + fates[f], process: c.process.Name, call: c, fate: fate(f)})
			}
		}
	}
	for _, c := range w.late {
		add(transition{id: "late " + c.String(), process: "late " + c.String(), call: c, late: true})
	}
	return ts
}

// node makes the node that follows the path.
func (e Explorer) node(path []*node, enabled []transition) *node {
	n := &node{enabled: enabled}
	if len(path) == 0 {
		return n
	}
	before := path[len(path)-1]
	t := before.enabled[before.chosen]
	n.last, n.preempted, n.faults = t.process, before.preempted, before.faults
	if before.preempts(t) {
		n.preempted++
	}
	if t.fate != passes {
		n.faults++
	}
	for _, u := range slices.Concat(before.sleep, before.done) {
		if u.independent(t) {
			n.sleep = append(n.sleep, u)
		}
	}
	// The process that made the last step goes on unless another choice is made.
	slices.SortStableFunc(n.enabled, func(a, b transition) int { return rank(a, n.last) - rank(b, n.last) })
	return n
}

func rank(t transition, last string) int {
	r := 0
	if t.process != last {
		r = 1
	}
	if t.fate != passes || t.late {
		r += 2
	}
	return r
}

// preempts says whether t leaves a process that could go on.
func (n *node) preempts(t transition) bool {
	return t.process != n.last && slices.ContainsFunc(n.enabled, func(u transition) bool { return u.process == n.last && u.fate == passes })
}

// next returns the next transition to try at n, -1 if none is left.
func (e Explorer) next(n *node) int {
	known := func(ts []transition, id string) bool {
		return slices.ContainsFunc(ts, func(u transition) bool { return u.id == id })
	}
	return slices.IndexFunc(n.enabled, func(t transition) bool {
		switch {
		case known(n.sleep, t.id), known(n.done, t.id):
			return false
		case n.preempts(t) && n.preempted >= e.Preemptions:
			return false
		default:
			return t.fate == passes || n.faults < e.Faults
		}
	})
}

// back goes back to the last node at which something else can be tried.
func (e Explorer) back(path []*node) []*node {
	for len(path) > 0 {
		n := path[len(path)-1]
		n.done = append(n.done, n.enabled[n.chosen])
		if n.chosen = e.next(n); n.chosen >= 0 {
			return path
		}
		path = path[:len(path)-1]
	}
	return nil
}

// take makes the step that was chosen at a node.
func (w *World) take(n *node, pending []*call) {
	t := n.enabled[n.chosen]
	for _, u := range w.transitions(pending, true) {
		if u.id != t.id {
			continue
		}
		if u.late {
			w.land(u.call, true)
		} else {
			w.do(u.call, u.fate)
		}
		return
	}
	w.judge.wrong("the schedule is not the same when it is run again: no %s among %d", t.id, len(pending))
}

const opWait = "wait"

// Wait lets the time pass, as a step of its own that the others may come before
// or after.
func (p *Process) Wait(d time.Duration) {
	_, _ = pass(p.ctx, p, opWait, []string{d.String()}, false, func() (struct{}, error) {
		time.Sleep(d)
		return struct{}{}, nil
	})
}
