package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/reference"
)

// While images are pushed, tagged, deleted and collected, days pass between any two
// steps, and nothing is found: what vanished meanwhile has vanished by right.
func TestNothingIsFoundInABusyStore(t *testing.T) {
	w := inMemory(t)
	memory := w.bucket.Bucket // with conditional deletes, so that tombstones go too
	w.store = storetest.Open(t, memory, w.clock)
	w.images = images.New(w.store, nil, images.Options{Logger: storetest.Quiet()})
	shared := storetest.Tar(80_000, "shared")
	build := func(n int) storetest.Image {
		return storetest.Build{Tars: [][]byte{shared, storetest.Tar(70_000, fmt.Sprint(n/2))}, Platform: platform(n % 3)}.Image()
	}
	for n := range 10 {
		w.push(repo, build(n), reference.Tag(fmt.Sprint("t", n)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	// Nobody is slower than the time that a promise lasts: while one pushes no day
	// passes.
	var days sync.RWMutex
	var all sync.WaitGroup
	var freed atomic.Int64
	all.Go(func() {
		for n := 0; n < 200 && ctx.Err() == nil; n++ {
			days.RLock()
			in := reference.Repository(fmt.Sprint("demo/r", n%3))
			i := build(n)
			w.push(in, i, reference.Tag(fmt.Sprint("t", n%5)))
			days.RUnlock()
			days.RLock()
			if err := w.images.Delete(ctx, in, build(n/2).Digest); err != nil && !errors.Is(err, blobstore.ErrManifestUnknown) && ctx.Err() == nil {
				t.Error(err)
			}
			days.RUnlock()
		}
	})
	all.Go(func() {
		s := storetest.Open(t, memory, w.clock)
		im := images.New(s, nil, images.Options{Logger: storetest.Quiet()})
		c := collect.New(s, im, fleet.New(s, im), collect.Options{Logger: storetest.Quiet(), Temp: t.TempDir()})
		for n := 0; ctx.Err() == nil; n++ {
			days.Lock()
			w.clock.Turn(40 * time.Hour)
			days.Unlock()
			r, err := c.Run(ctx, collect.RunOptions{Full: n%5 == 4})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			freed.Add(r.FreedObjects)
		}
	})
	s := storetest.Open(t, memory, w.clock)
	v := verify.New(s, images.New(s, nil, images.Options{Logger: storetest.Quiet()}), verify.Options{Logger: storetest.Quiet(), Temp: t.TempDir()})
	runs := 0
	for ; runs < 5 || freed.Load() < 5 && runs < 1000; runs++ {
		r, err := v.Run(ctx, verify.RunOptions{Restart: true, Parallel: 2})
		w.must(err)
		if r.Bad != 0 || r.Flips != 0 || len(r.Findings) != 0 {
			t.Fatalf("%+v%s", r, show(r))
		}
	}
	cancel()
	all.Wait()
	if freed.Load() < 5 {
		t.Errorf("only %d data objects were deleted meanwhile", freed.Load())
	}
	t.Logf("%d runs while %d data objects were deleted", runs, freed.Load())
	w.clean()
}

func platform(n int) (p ocispec.Platform) {
	p.OS, p.Architecture = "linux", []string{"amd64", "arm64", "riscv64"}[n]
	return p
}
