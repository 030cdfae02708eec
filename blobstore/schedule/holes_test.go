package schedule

import (
	"context"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/internal/mutant"
)

// goOn lets the calls of a process pass until one at which stop is true is next,
// or until it makes none.
func (w *World) goOn(p *Process, stop func(*call) bool) {
	for {
		var next *call
		for _, c := range w.quiet() {
			if c.process == p {
				next = c
				break
			}
		}
		if next == nil || stop != nil && stop(next) {
			return
		}
		w.do(next, passes)
	}
}

// MODEL, hole 1: two collectors miss a manifest that moves from a place which
// they have not listed yet to one which they have. Its blobs were promised when
// their marks began, and that saves it. It does not where steps go by the time
// at which a record is read.
func TestTwoMarksThatMissTheSameManifest(t *testing.T) {
	for _, m := range []mutant.Mutant{mutant.None, mutant.MarksEnd} {
		t.Run(string(m), func(t *testing.T) {
			defer mutant.Set(m)()
			Run(t, Config{OneKey: true, Few: true}, func(w *World) {
				if broken := missedTwice(w); (broken != "") != (m == mutant.MarksEnd) {
					t.Errorf("%q\n%s", broken, Outcome{Trace: w.trace}.Tail(200))
				}
			})
		})
	}
}

func missedTwice(w *World) string {
	a, b, c, d := w.Start("a", 0), w.Start("b", 0), w.Start("c", 0), w.Start("d", 0)
	_ = a.Push(background, "a", third, "y")
	_ = a.Upload(background, "a", large1)
	_ = a.Push(background, "b", alias)
	w.wait(Grace + time.Hour)
	w.quiet()
	w.judge.scan()
	w.shut()

	past := func(c *call) bool { return c.op == "list" && len(c.keys) > 1 && c.keys[1] == "repos/a/_tags/y" }
	for _, p := range []*Process{c, d} {
		p.collects(0)
		w.goOn(p, past)
	}
	a.Go(func(ctx context.Context) { _ = a.Put(ctx, "a", first) })
	w.goOn(a, nil)
	b.Go(func(ctx context.Context) { _ = b.Delete(ctx, "b", alias) })
	w.goOn(b, nil)
	swept := func(c *call) bool { return c.op == "list" && c.keys[0] == "blobs/" }
	w.goOn(c, swept)
	w.goOn(d, swept)
	w.wait(Grace + time.Hour)
	w.goOn(c, nil)
	w.wait(11 * time.Minute)
	w.goOn(d, nil)
	broken := w.judge.check()
	w.settle()
	return broken
}

// MODEL, hole 10: what a mark reaches it follows, whatever state it has come to.
// An index keeps its manifests and their blobs, though no link names them and
// all have been condemned.
func TestMarkFollowsWhatIsCondemned(t *testing.T) {
	Run(t, Config{}, func(w *World) {
		a, c := w.Start("a", 0), w.Start("c", 0)
		_ = a.Push(background, "a", first)
		_ = a.Push(background, "a", second)
		_ = a.Put(background, "a", index, "x")
		_ = a.Delete(background, "a", first)
		_ = a.Delete(background, "a", second)
		w.wait(Grace + time.Hour)
		for _, d := range closure(index.digest) { // as a mark that missed the index would
			if _, err := c.Store.Judge(background, d, c.Now(), false); err != nil {
				t.Fatal(err)
			}
		}
		w.judge.scan()
		for _, d := range closure(index.digest) {
			if s := w.judge.blobs[d].State; s != "condemned" {
				t.Errorf("%s is %s", nameOf(d), s)
			}
		}
		w.shut()
		w.rest()
		if broken := w.judge.check(); broken != "" {
			t.Error(broken)
		}
	})
}

// A run is determined by its seed.
func TestSameSeedSameSteps(t *testing.T) {
	s := Search{Seed: 7, Steps: 1500}
	if a, b := s.Run(t).Tail(2000), s.Run(t).Tail(2000); a != b {
		t.Errorf("the same seed took other steps:\n%s\nand\n%s", a, b)
	}
}
