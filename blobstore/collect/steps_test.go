package collect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// Nothing goes in one step, however often a collector runs.
func TestABlobGoesInSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	d := w.put(repo, "a", 100_000)
	o := w.store.Options()
	w.cycle(o.Grace - time.Minute)
	w.want("live", d)
	w.cycle(2 * time.Minute)
	w.want("condemned", d)
	w.cycle(0)
	w.cycle(2 * o.Skew)
	w.want("condemned", d)
	r := w.cycle(time.Minute)
	w.want("gone", d)
	if r.Collected != 1 || r.Links != 1 || r.WaitingBytes < 100_000 {
		t.Errorf("%+v", r)
	}
	w.cycle(o.Drain - time.Minute)
	if n := len(w.keys("data/")); n != 1 {
		t.Errorf("%d data objects while it drains", n)
	}
	r = w.cycle(2 * time.Minute)
	if n := len(w.keys("data/")); n != 0 || r.FreedBytes != 100_000 || r.WaitingBytes != 0 {
		t.Errorf("%d data objects after it: %+v", n, r)
	}
	w.want("gone", d)
	w.cycles(6)
	if left := w.keys(garbage...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Where a bucket takes late writes, tombstones stay: a create that was stopped
// on the way must meet one.
func TestTombstonesStayWhereLateWritesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	s := storetest.Open(t, storetest.Patient{Bucket: w.bucket}, w.clock)
	im := images.New(s, nil, images.Options{Logger: storetest.Quiet()})
	w.Collector = New(s, im, w.fleet, Options{Logger: storetest.Quiet(), Temp: t.TempDir()})
	a := image("a", 100_000)
	w.push(repo, a, "1")
	w.rm(repo, a.Digest)
	w.cycles(20)
	w.want("gone", all(a)...)
	if n := len(w.keys("data/")); n != 0 {
		t.Errorf("%d data objects", n)
	}
	before := w.content()
	r := w.cycle(24 * time.Hour)
	after := w.content()
	delete(before, statsKey)
	delete(after, statsKey)
	delete(before, leaseKey)
	delete(after, leaseKey)
	if !maps.Equal(before, after) || r.Links+r.Records+r.FreedObjects != 0 {
		t.Errorf("a cycle with nothing to do changes something: %+v", r)
	}
}

// findings does a cycle, and returns what it says, in order.
func (w *world) findings(dry, full bool) (Report, []Finding) {
	w.t.Helper()
	var fs []Finding
	r, err := w.Run(w.t.Context(), RunOptions{DryRun: dry, Full: full, Each: func(f Finding) { fs = append(fs, f) }})
	w.must(err)
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Repository, b.Repository))
	})
	return r, fs
}

// litter leaves some of everything that a cycle deals with, and returns images
// that stay.
func (w *world) litter() []storetest.Image {
	w.t.Helper()
	w, end := w.client()
	defer end()
	a, b := image("a", 100_000), image("b", 70_000)
	subject := a.Descriptor()
	referrer := storetest.Build{Subject: &subject, Tars: [][]byte{storetest.Tar(10, "signature")}}.Image()
	w.push("kept", a, "1", "2")
	w.push("kept", storetest.Index(a.Descriptor()), "index")
	w.push("gone", a, "1")
	w.push("gone", b, "1", "old")
	w.push("gone", referrer)
	w.must(w.images.Untag(w.t.Context(), "gone", "1"))
	w.rm("gone", b.Digest)
	w.rm("gone", referrer.Digest)
	w.put("gone", "lonely", 200_000)
	w.report("silent", b.Digest)
	w.must(w.fleet.DeleteSnapshot(w.t.Context(), w.register("kept", a)))
	up, err := w.store.StartUpload(w.t.Context(), "gone", blobstore.UploadOptions{})
	w.must(err)
	_, err = up.Append(w.t.Context(), 0, bytes.NewReader(storetest.Bytes(150_000, "unfinished")))
	w.must(err)
	return []storetest.Image{a, storetest.Index(a.Descriptor())}
}

// A dry run changes no byte, and says exactly what the next real one does.
func TestADryRunForetells(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	kept := w.litter()
	steps := map[blobstore.Step]int{}
	for i := range 45 {
		full := i%7 == 0
		w.clock.Turn(24 * time.Hour)
		before := w.content()
		foretold, fs := w.findings(true, full)
		if !maps.Equal(before, w.content()) {
			t.Fatalf("day %d: the dry run has changed the bucket", i)
		}
		done, gs := w.findings(false, full)
		if !slices.Equal(fs, gs) {
			t.Errorf("day %d: foretold\n%+v\ndone\n%+v", i, fs, gs)
		}
		foretold.DryRun = false
		if foretold.Ended, foretold.Succeeded = done.Ended, done.Succeeded; !reflect.DeepEqual(foretold, done) {
			t.Errorf("day %d: foretold\n%+v\ndone\n%+v", i, foretold, done)
		}
		for _, f := range gs {
			steps[f.Step]++
		}
	}
	for _, s := range []blobstore.Step{blobstore.Condemned, blobstore.Collected, blobstore.Freed, blobstore.Removed} {
		if steps[s] == 0 {
			t.Errorf("no finding of step %s: %v", s, steps)
		}
	}
	w.readable(all(kept...)...)
}

// A context that ends breaks a cycle off, wherever it is.
func TestACycleEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.litter()
	w.clock.Turn(100 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Run(ctx, RunOptions{DryRun: true}); ctx.Err() == nil || err == nil {
		t.Error("it went on")
	}
}

// Retention comes first, and a dry run takes what it would remove for removed.
func TestWhatRetentionRemovesIsForetold(t *testing.T) {
	t.Parallel()
	a := image("a", 100_000)
	var w *world
	w = newWorld(t, Options{Retain: func(ctx context.Context, dry bool, report func(Finding)) error {
		if _, err := w.images.Resolve(ctx, repo, reference.Locator{Digest: a.Digest}); err != nil {
			return nil
		}
		report(Finding{Kind: KindTag, Subject: "1", Repository: string(repo), Step: blobstore.Removed, Why: "the rules"})
		report(Finding{Kind: KindManifest, Subject: string(a.Digest), Repository: string(repo), Step: blobstore.Removed, Why: "the rules"})
		if dry {
			return nil
		}
		return errors.Join(w.images.Untag(ctx, repo, "1"), w.images.Delete(ctx, repo, a.Digest))
	}})
	w.push(repo, a, "1")
	w.clock.Turn(100 * time.Hour)
	dry, fs := w.findings(true, false)
	done, gs := w.findings(false, false)
	if !slices.EqualFunc(fs, gs, func(a, b Finding) bool {
		a.Next, b.Next = time.Time{}, time.Time{}
		a.Why, b.Why = "", ""
		return a == b
	}) {
		t.Errorf("foretold\n%+v\ndone\n%+v", fs, gs)
	}
	if n := int64(len(all(a))); dry.Condemned != n || done.Condemned != n || done.ManifestsRemoved != 1 || dry.ManifestsRemoved != 1 {
		t.Errorf("foretold\n%+v\ndone\n%+v", dry, done)
	}
	if dry.TagsRemoved != 1 || done.TagsRemoved != 1 {
		t.Errorf("tags: foretold %d, done %d", dry.TagsRemoved, done.TagsRemoved)
	}
}
