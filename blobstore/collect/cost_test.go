package collect

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// A blob that is kept is listed, and no call is made for it: a cycle costs two
// reads for each manifest, some for each repository, and some for what goes.
func TestWhatIsKeptCostsNoCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	images := 0
	fill := func(repos, per, layers int) {
		c, end := w.client()
		defer end()
		for r := range repos {
			for i := range per {
				b := storetest.Build{}
				for l := range layers {
					b.Tars = append(b.Tars, storetest.Tar(10, fmt.Sprint(r, i, l, layers)))
				}
				c.push(reference.Repository(fmt.Sprint("r", r)), b.Image(), reference.Tag(fmt.Sprint("v", i, "-", layers)))
				images++
			}
		}
	}
	cost := func() map[string]int {
		n := map[string]int{}
		var mu sync.Mutex
		w.bucket.set(func(_ context.Context, op, key string) error {
			first, _, _ := strings.Cut(key, "/")
			mu.Lock()
			defer mu.Unlock()
			n[op+" "+first]++
			return nil
		})
		defer w.bucket.set(nil)
		w.cycle(100 * time.Hour)
		return n
	}
	fill(3, 4, 1)
	few := cost()
	fill(3, 4, 8) // twice the manifests, and many more blobs
	many := cost()
	if few["get blobs"] != 12 || many["get blobs"] != images {
		t.Errorf("%d, then %d records of blobs are read, for 12 and %d manifests", few["get blobs"], many["get blobs"], images)
	}
	if few["get repos"] != 12 || many["get repos"] != images {
		t.Errorf("%d, then %d links are read, for 12 and %d manifests", few["get repos"], many["get repos"], images)
	}
	if few["get data"]+many["get data"]+many["put blobs"]+many["put repos"]+many["delete data"] != 0 {
		t.Errorf("data is read, or something is written: %v", many)
	}
	for _, op := range []string{"list blobs", "list repos", "list uploads", "get catalog"} {
		if many[op] > 3 || many[op] != few[op] {
			t.Errorf("%s: %d, then %d", op, few[op], many[op])
		}
	}
	if many["list data"]+many["list layers"] != 0 {
		t.Errorf("a cycle that is not full lists data or layers: %v", many)
	}
	c, end := w.client()
	for i := range 5 {
		c.put("r0", fmt.Sprint("garbage", i), 10)
	}
	end()
	more := cost()
	if n := more["get blobs"] - many["get blobs"]; n != 5 || more["put blobs"] != 5 {
		t.Errorf("5 blobs that nothing names cost %d reads and %d writes", n, more["put blobs"])
	}
}

// With next to no memory, what is sorted goes to disk, and the outcome is the same.
func TestWithLittleMemoryTheOutcomeIsTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	kept := w.litter()
	for i := range 30 {
		a := image(fmt.Sprint(i), 10)
		c, end := w.client()
		c.push(reference.Repository(fmt.Sprint("many/", i%3)), a, "1")
		end()
		kept = append(kept, a)
	}
	w.clock.Turn(100 * time.Hour)
	for i := range 4 {
		small := w.copy()
		dir := t.TempDir()
		small.Collector = New(small.store, small.images, small.fleet, Options{Logger: storetest.Quiet(), Temp: dir, memory: 1})
		roomy := w.copy()
		r1, f1 := small.findings(false, i == 2)
		r2, f2 := roomy.findings(false, i == 2)
		if !reflect.DeepEqual(r1, r2) || !slices.Equal(f1, f2) {
			t.Errorf("cycle %d: %+v\n%+v", i, r1, r2)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v is left in the folder, %v", left, err)
		}
		w.cycle(24 * time.Hour)
	}
	w.readable(all(kept...)...)
}

func TestAFullDiskCondemnsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.litter()
	c, end := w.client()
	for i := range 20 {
		c.push("many", image(fmt.Sprint(i), 10))
	}
	end()
	w.clock.Turn(100 * time.Hour)
	before := w.keys("blobs/")
	w.Collector = New(w.store, w.images, w.fleet, Options{Logger: storetest.Quiet(), Temp: t.TempDir() + "/none", memory: 1})
	r, err := w.Run(t.Context(), RunOptions{})
	if err == nil || r.Condemned != 0 || len(w.keys("blobs/")) != len(before) {
		t.Errorf("%+v, %v", r, err)
	}
}

// A ledger notes what a mark tells who counts.
type ledger struct {
	repos, tags, manifests, unnamed []string
	listed                          int64
	done, dropped                   int
}

func (l *ledger) Repository(r reference.Repository) { l.repos = append(l.repos, string(r)) }
func (l *ledger) Tag(r reference.Repository, t reference.Tag) {
	l.tags = append(l.tags, fmt.Sprint(r, ":", t))
}
func (l *ledger) Manifest(r reference.Repository, m images.Descriptor, named []images.Descriptor, created time.Time) {
	l.manifests = append(l.manifests, fmt.Sprint(r, "@", m.Digest, " ", m.Size, " ", len(named), " ", !created.IsZero()))
}
func (l *ledger) Unnamed(j blobstore.Judgement) {
	l.unnamed = append(l.unnamed, fmt.Sprint(j.Digest, " ", j.Size, " ", j.Step))
}
func (l *ledger) Listed(n int64) { l.listed = n }
func (l *ledger) Done() error    { l.done++; return nil }
func (l *ledger) Drop()          { l.dropped++ }

func wantStrings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Who counts is told of everything once, of tags only those that count, and of a
// manifest in each repository that has it, by itself or in an index.
func TestWhatAMarkTellsWhoCounts(t *testing.T) {
	t.Parallel()
	var l *ledger
	w := newWorld(t, Options{Tally: func() Tally { l = &ledger{}; return l }})
	a, b, c := image("a", 10), image("b", 10), image("c", 10)
	index := storetest.Index(a.Descriptor(), b.Descriptor())
	w.push("one", a, "1", "2")
	w.push("one", b, "3")
	w.push("one", index, "index")
	w.rm("one", b.Digest) // and tag 3 with it
	w.must(w.images.Untag(t.Context(), "one", "2"))
	w.push("two", a, "1")
	w.push("two", c, "2")
	w.report("node", c.Digest)
	w.rm("two", c.Digest)
	garbage := w.put("three", "garbage", 10)
	if err := w.Count(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	is := func(in string, i storetest.Image, named int, linked bool) string {
		return fmt.Sprint(in, "@", i.Digest, " ", len(i.Manifest), " ", named, " ", linked)
	}
	wantStrings(t, "repositories", l.repos, "one", "three", "two")
	wantStrings(t, "tags", l.tags, "one:1", "one:index", "two:1")
	wantStrings(t, "manifests", l.manifests,
		is("one", a, 3, true), is("one", index, 2, true), is("one", b, 3, false), is("two", a, 3, true), is("", c, 3, false))
	wantStrings(t, "unnamed", l.unnamed, fmt.Sprint(garbage, " 10 keep"))
	if n := int64(len(all(a, b, c, index)) + 1); l.listed != n || l.done != 1 || l.dropped != 0 {
		t.Errorf("%d listed, not %d; done %d, dropped %d", l.listed, n, l.done, l.dropped)
	}
	dry := l
	if _, err := w.Run(t.Context(), RunOptions{DryRun: true}); err != nil || l != dry {
		t.Errorf("a dry run is counted, or failed: %v", err)
	}
	w.bucket.set(func(_ context.Context, op, key string) error {
		if op == "list" && key == "blobs/" {
			return errBroken
		}
		return nil
	})
	if err := w.Count(t.Context(), nil); err == nil || l.done != 0 || l.dropped != 1 {
		t.Errorf("%v, done %d, dropped %d", err, l.done, l.dropped)
	}
}

// The size of the work is known from the cycle before.
func TestProgressHasAnEstimate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.litter()
	w.clock.Turn(100 * time.Hour)
	phases := func() map[string]Progress {
		out := map[string]Progress{}
		_, err := w.Run(t.Context(), RunOptions{Progress: func(p Progress) { out[p.Phase] = p }})
		w.must(err)
		return out
	}
	if p := phases(); p[PhaseMark].Total != 0 || len(p) != 7 {
		t.Errorf("%+v", p)
	}
	last, ok, err := w.Last(t.Context())
	if p := phases(); err != nil || !ok || p[PhaseMark].Total != last.Named+last.Manifests || p[PhaseSweep].Total != last.Listed || last.Listed == 0 {
		t.Errorf("%+v after %+v, %v", p, last, err)
	}
}
