package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// calls counts the calls of a cycle to the bucket.
func (w *world) calls(o RunOptions) int {
	w.t.Helper()
	var n atomic.Int64
	w.bucket.set(func(context.Context, string, string) error { n.Add(1); return nil })
	defer w.bucket.set(nil)
	_, err := w.Run(w.t.Context(), o)
	w.must(err)
	return int(n.Load())
}

// ripe is a world with litter whose promises have ended, and what stays of it.
// One call is made after the other.
func ripe(t *testing.T) (*world, []storetest.Image) {
	t.Helper()
	w := newWorld(t, Options{Parallel: 1})
	kept := w.litter()
	w.clock.Turn(100 * time.Hour)
	return w, kept
}

// Whatever read or listing of the mark fails, nothing is condemned, and the
// error says what could not be read.
func TestAReadThatFailsCondemnsNothing(t *testing.T) {
	t.Parallel()
	ripe, kept := ripe(t)
	n := ripe.calls(RunOptions{DryRun: true})
	failed := 0
	for i := range n {
		w := ripe.copy()
		var seen atomic.Int64
		var sweeping atomic.Bool
		w.bucket.set(func(_ context.Context, op, key string) error {
			if op == "list" && key == "blobs/" {
				sweeping.Store(true)
			}
			if seen.Add(1) == int64(i+1) {
				return fmt.Errorf("%s %s: %w", op, key, errBroken)
			}
			return nil
		})
		before := w.content()
		r, err := w.Run(t.Context(), RunOptions{})
		w.bucket.set(nil)
		if !sweeping.Load() {
			failed++
			if !errors.Is(err, bucket.ErrUnavailable) {
				t.Errorf("call %d: %v", i, err)
			}
			if r.Condemned+r.Collected+r.FreedObjects+r.Links+r.Records != 0 {
				t.Errorf("call %d: %+v", i, r)
			}
			for key, b := range w.content() {
				if key != statsKey && key != leaseKey && before[key] != b {
					t.Errorf("call %d: %s has changed", i, key)
				}
			}
		}
		w.want("live", all(kept...)...)
		w.finish()
		w.finished(kept)
	}
	if failed < 20 {
		t.Errorf("only %d of %d calls were made to fail in the mark", failed, n)
	}
}

// finished checks that all garbage of litter is gone, and nothing that is named.
func (w *world) finished(kept []storetest.Image) {
	w.t.Helper()
	w.readable(all(kept...)...)
	w.want("live", all(kept...)...)
	if n := len(w.keys("blobs/")); n != len(all(kept...)) {
		w.t.Errorf("%d blobs stay, not %d", n, len(all(kept...)))
	}
	if left := w.keys("uploads/", "snapshots/", "nodes/", "repos/gone/_manifests/sha256:7", "repos/gone/_referrers/"); len(left) > 0 {
		w.t.Errorf("left: %v", left)
	}
	if n := len(w.keys("data/")); n != 1 {
		w.t.Errorf("%d data objects stay, not 1", n)
	}
}

// every is which of the calls are tried where that takes long: each fourth one,
// others on each day.
const every = 4

// A collector that is killed at any call leaves nothing that another cannot go
// on from.
func TestACollectorThatIsKilled(t *testing.T) {
	t.Parallel()
	for _, day := range []int{0, 1, 2} { // of the cycle in which it happens
		ripe, kept := ripe(t)
		ripe.cycles(day)
		n := ripe.copy().calls(RunOptions{})
		for i := day % every; i < n; i += every {
			w := ripe.copy()
			killed := w.another(Options{Parallel: 1})
			ctx, kill := context.WithCancel(t.Context())
			var seen atomic.Int64
			w.bucket.set(func(ctx context.Context, op, key string) error {
				if seen.Add(1) > int64(i) {
					kill()
				}
				if ctx.Err() != nil {
					return fmt.Errorf("%s %s: %w", op, key, ctx.Err())
				}
				return nil
			})
			if _, err := killed.Run(ctx, RunOptions{}); err == nil && i < n/2 {
				t.Errorf("day %d, call %d: no error", day, i)
			}
			kill()
			w.bucket.set(nil)
			w.finish()
			w.finished(kept)
		}
	}
}

// A whole cycle of another collector in the middle of one, at any call.
func TestTwoCollectorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, day := range []int{0, 1, 2} {
		ripe, kept := ripe(t)
		ripe.cycles(day)
		n := ripe.copy().calls(RunOptions{})
		for i := day % every; i < n; i += every {
			w := ripe.copy()
			other := w.another(Options{Parallel: 1})
			var seen atomic.Int64
			w.bucket.set(func(context.Context, string, string) error {
				if seen.Add(1) == int64(i+1) {
					w.bucket.set(nil)
					w.clock.Turn(time.Hour)
					_, err := other.Run(t.Context(), RunOptions{})
					w.must(err)
				}
				return nil
			})
			_, err := w.Run(t.Context(), RunOptions{})
			w.bucket.set(nil)
			w.must(err)
			w.finish()
			w.finished(kept)
		}
	}
}

// A manifest that moves from one repository to another while the mark lists may
// be seen in neither. What it names stays, in whichever moment it moves, and
// however long the listing takes.
func TestAManifestThatMovesWhileTheMarkLists(t *testing.T) {
	t.Parallel()
	a := image("a", 100_000)
	for _, slow := range []time.Duration{0, 100 * time.Hour} {
		for _, to := range []reference.Repository{"aaa", "zzz"} {
			for i := 0; ; i++ {
				w := newWorld(t, Options{Parallel: 1})
				w.push("mmm", a, "1")
				w.put("bbb", "other", 10)
				w.clock.Turn(100 * time.Hour)
				var seen atomic.Int64
				w.bucket.set(func(_ context.Context, op, key string) error {
					if op != "next" || !strings.HasPrefix(key, "repos/") {
						return nil
					}
					if seen.Add(1) == int64(i+1) {
						w.bucket.set(nil)
						w.push(to, a, "1")
						w.rm("mmm", a.Digest)
						w.clock.Turn(slow)
					}
					return nil
				})
				r := w.cycle(0)
				moved := seen.Load() > int64(i)
				w.bucket.set(nil)
				if r.Condemned > 1 || r.Collected > 0 {
					t.Errorf("to %s at key %d: %+v", to, i, r)
				}
				if !moved {
					break
				}
				w.want("live", all(a)...)
				w.cycles(9)
				w.want("live", all(a)...)
				w.readable(all(a)...)
			}
		}
	}
}

// One that appears behind the listing was promised; one that vanishes before it
// is reached is not read.
func TestAManifestThatVanishesWhileTheMarkLists(t *testing.T) {
	t.Parallel()
	a, b := image("a", 100_000), image("b", 100_000)
	w := newWorld(t, Options{Parallel: 1})
	w.push("mmm", a, "1")
	w.push("nnn", b, "1")
	w.clock.Turn(100 * time.Hour)
	var gone atomic.Bool
	w.bucket.set(func(_ context.Context, op, key string) error {
		if op == "get" && strings.HasPrefix(key, "repos/mmm/_manifests/") && !gone.Swap(true) {
			w.rm("mmm", a.Digest)
		}
		return nil
	})
	r := w.cycle(0)
	w.bucket.set(nil)
	if n := int64(len(all(a))); r.Condemned != n || r.ProblemsTotal != 0 {
		t.Errorf("%+v", r)
	}
	w.want("live", all(b)...)
}

// Who pushes again what is condemned, or asks for it, has it live.
func TestWhoAsksBetweenTwoCyclesWins(t *testing.T) {
	t.Parallel()
	a := image("a", 100_000)
	w := newWorld(t, Options{})
	w.push(repo, a, "1")
	w.rm(repo, a.Digest)
	w.cycle(100 * time.Hour)
	w.want("condemned", all(a)...)
	w.push("other", a, "1")
	w.cycles(9)
	w.want("live", all(a)...)
	w.readable(all(a)...)
}

// A manifest whose bytes are damaged may name anything: nothing is condemned, and
// the error says what to do.
func TestADamagedManifestStopsTheMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := image("a", 100_000)
	w.push(repo, a, "1")
	garbage := w.put(repo, "garbage", 10)
	w.clock.Turn(100 * time.Hour)
	key := blobstore.BlobKey(a.Digest)
	broken := strings.Replace(w.content()[key], `"inline":"`, `"inline":"AAAA`, 1)
	_, err := w.bucket.Bucket.Put(t.Context(), key, strings.NewReader(broken), int64(len(broken)), bucket.Condition{})
	w.must(err)
	_, err = w.Run(t.Context(), RunOptions{})
	if !errors.Is(err, blobstore.ErrCorrupt) || !strings.Contains(err.Error(), "lamina rm demo/app@"+string(a.Digest)) {
		t.Errorf("%v", err)
	}
	w.want("live", garbage)
	if last, ok, err := w.Last(t.Context()); err != nil || !ok || !strings.Contains(last.Error, "lamina rm") {
		t.Errorf("%+v, %v, %v", last, ok, err)
	}
	w.rm(repo, a.Digest)
	w.cycle(0)
	w.want("condemned", garbage)
}

// A link to a manifest whose bytes are not there is reported, and the rest is
// collected.
func TestALinkToNothingIsAProblem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := image("a", 100)
	w.push(repo, a, "1")
	garbage := w.put(repo, "garbage", 10)
	w.must(w.bucket.Bucket.Delete(t.Context(), blobstore.BlobKey(a.Digest)))
	r := w.cycle(100 * time.Hour)
	if r.ProblemsTotal != 1 || len(r.Problems) != 1 || r.Problems[0].Subject != string(a.Digest) || r.Problems[0].Repository != string(repo) {
		t.Errorf("%+v", r.Problems)
	}
	w.want("condemned", garbage)
}
