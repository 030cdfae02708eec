package faults

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/bucket/probe"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/verify"
)

// A lateClock is the machine's, and ahead of it.
type lateClock struct {
	blobstore.SystemClock
	ahead atomic.Int64
}

func (c *lateClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// settleCycles is how many collections all garbage is gone after: condemned,
// gone, deleted, forgotten, and one for what only leads to something else.
const settleCycles = 5

// settle collects until nothing may be left that no image needs, reads back all
// that is there, and looks for what should not be.
func settle(t testing.TB, s settings, l *ledger) {
	t.Helper()
	ctx := t.Context()
	b, err := open.Bucket(ctx, s.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	clock := &lateClock{}
	o := s.options()
	o.Clock, o.Logger = clock, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	store := blobstore.New(b, o)
	checker := layers.New(store, layers.Options{Logger: o.Logger})
	im := images.New(store, checker, images.Options{Logger: o.Logger})
	c := collect.New(store, im, fleet.New(store, im), collect.Options{Logger: o.Logger})
	for range settleCycles {
		clock.ahead.Add(int64(time.Minute))
		r, err := c.Run(ctx, collect.RunOptions{Full: true})
		if err != nil || r.ProblemsTotal > 0 {
			t.Errorf("collection: %v, %+v", err, r.Problems)
		}
	}
	if err := probe.Leftovers(ctx, b, time.Now().Add(2*time.Hour)); err != nil {
		t.Error(err)
	}
	r, err := verify.New(store, im, verify.Options{Logger: o.Logger}).Run(ctx, verify.RunOptions{})
	if err != nil || r.Bad > 0 || r.Orphans > 0 {
		t.Errorf("verification: %v, %d bad, %d orphans: %+v", err, r.Bad, r.Orphans, r.Findings)
	}
	left(t, b, l)
	if err := store.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// left looks for what nothing needs. It reads the bucket by itself.
func left(t testing.TB, b bucket.Bucket, l *ledger) {
	t.Helper()
	needed := map[digest.Digest]bool{}
	for _, g := range l.tags {
		if g.now != nil {
			for d := range g.now.blobs {
				needed[d] = true
			}
		}
	}
	data := map[string]bool{}
	live, tombstones := 0, 0
	for key := range keys(t, b, "blobs/") {
		var r struct {
			Digest            digest.Digest
			State             string
			Copies, Bad, Drop []string
		}
		read(t, b, key, &r)
		if r.State == "gone" {
			if tombstones++; len(r.Copies)+len(r.Bad)+len(r.Drop) > 0 {
				t.Errorf("%s is gone, and names data: %+v", key, r)
			}
			continue
		}
		live++
		if !needed[r.Digest] {
			t.Errorf("no image needs %s, which is %s", r.Digest, r.State)
		}
		if len(r.Bad)+len(r.Drop) > 0 || len(r.Copies) > 1 {
			t.Errorf("%s names more than one sound copy: %+v", key, r)
		}
		for _, id := range r.Copies {
			data["data/"+id] = true
		}
		delete(needed, r.Digest)
	}
	if len(needed) > 0 {
		t.Errorf("there are no records of %v", slices.Collect(maps.Keys(needed)))
	}
	there := keys(t, b, "data/")
	for key := range there {
		if !data[key] {
			t.Errorf("no record names %s", key)
		}
	}
	if uploads := keys(t, b, "uploads/"); len(uploads) > 0 {
		t.Errorf("uploads are left: %v", slices.Collect(maps.Keys(uploads)))
	}
	t.Logf("%d blobs are left, %d data objects, %d tombstones of blobs", live, len(there), tombstones)
	if dir, ok := strings.CutPrefix(b.String(), "file://"); ok {
		// One without its table is none any more: it was being removed when a server
		// was killed, and the bucket removes the rest after some days.
		tables, err := filepath.Glob(filepath.Join(dir, ".lamina/multipart/*/table"))
		if err != nil || len(tables) > 0 {
			t.Errorf("multipart uploads are left: %v, %v", tables, err)
		}
	}
}

func keys(t testing.TB, b bucket.Bucket, prefix string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for info, err := range b.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		found[info.Key] = true
	}
	return found
}

func read(t testing.TB, b bucket.Bucket, key string, v any) {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
}
