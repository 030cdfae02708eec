package verify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/reference"
)

// While images are pushed, tagged, deleted and collected, days pass between any two
// steps, and nothing is found: what vanished meanwhile has vanished by right.
func TestNothingIsFoundInABusyStore(t *testing.T) {
	w := inMemory(t)
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
	all.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
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
		for n := 0; ctx.Err() == nil; n++ {
			days.Lock()
			w.clock.Turn(40 * time.Hour)
			days.Unlock()
			if err := collect(ctx, w, &days); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	v := w.verifier(verify.Options{})
	runs, gone := 0, 0
	for ; runs < 5 || gone < 5 && runs < 1000; runs++ {
		r, err := v.Run(ctx, verify.RunOptions{Restart: true, Parallel: 2})
		w.must(err)
		if r.Bad != 0 || r.Flips != 0 || len(r.Findings) != 0 {
			t.Fatalf("%+v%s", r, show(r))
		}
		gone = tombstones(w)
	}
	cancel()
	all.Wait()
	if gone < 5 {
		t.Errorf("only %d blobs were collected meanwhile", gone)
	}
	t.Logf("%d runs while %d blobs were collected", runs, gone)
	w.clean()
}

func platform(n int) (p ocispec.Platform) {
	p.OS, p.Architecture = "linux", []string{"amd64", "arm64", "riscv64"}[n]
	return p
}

// collect is one cycle of collection: mark and sweep.
func collect(ctx context.Context, w *world, days *sync.RWMutex) error {
	began := w.clock.Now()
	marked := map[digest.Digest]bool{}
	for repo, err := range w.images.Repositories(ctx, "") {
		if err != nil {
			return err
		}
		for m, err := range w.images.Manifests(ctx, repo, "") {
			if err != nil {
				return err
			}
			marked[m.Digest] = true
			b, err := w.store.Peek(ctx, m.Digest, images.MaxManifestSize)
			if errors.Is(err, blobstore.ErrBlobUnknown) {
				continue
			}
			if err != nil {
				return err
			}
			n, err := images.ParseNames(m.MediaType, b)
			if err != nil {
				return err
			}
			marked[n.Config.Digest] = true
			for _, l := range n.Layers {
				marked[l.Digest] = true
			}
		}
	}
	for info, err := range w.store.Bucket().List(ctx, blobstore.BlobPrefix, "") {
		if err != nil {
			return err
		}
		d := digest.Digest("sha256:" + info.Key[len("blobs/sha256/00/"):])
		if marked[d] {
			continue
		}
		days.RLock()
		_, err := w.store.Judge(ctx, d, began, false)
		days.RUnlock()
		if err != nil && !errors.Is(err, bucket.ErrPrecondition) {
			return err
		}
	}
	return nil
}

func tombstones(w *world) (n int) {
	for info, err := range w.store.Bucket().List(context.Background(), blobstore.BlobPrefix, "") {
		w.must(err)
		i, err := w.store.Describe(context.Background(), digest.Digest("sha256:"+info.Key[len("blobs/sha256/00/"):]))
		if err == nil && i.State == "gone" {
			n++
		}
	}
	return n
}
