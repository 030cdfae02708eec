package verify_test

import (
	"context"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
)

// vanish deletes an image and has all that it names collected, to the last byte.
func (w *world) vanish(i storetest.Image) {
	w.t.Helper()
	ctx := context.Background()
	w.must(w.images.Delete(ctx, repo, i.Digest))
	for range 3 { // condemned, collected, freed
		w.clock.Turn(100 * time.Hour)
		for _, d := range append([]digest.Digest{i.Digest, i.Config}, i.Layers...) {
			_, err := w.store.Judge(ctx, d, w.clock.Now(), false)
			w.must(err)
		}
	}
	if info, err := w.store.Describe(ctx, large(i)); err != nil || info.State != "gone" || len(info.Copies) > 0 {
		w.t.Fatalf("%+v %v", info, err)
	}
}

// What vanishes by right between two phases, after it was noted and before it is
// looked at, is no finding.
func TestVanishedBetweenPhases(t *testing.T) {
	for _, phase := range []string{"manifests", "blobs", "data", "records", "images"} {
		t.Run(phase, func(t *testing.T) {
			w := inMemory(t)
			i := w.image(repo, "a", "v1")
			bad := w.image(other, "b", "v1") // so that there is a phase "images"
			w.flip(w.data(large(bad)))
			done := false
			r := w.run(verify.RunOptions{Progress: func(p verify.Progress) {
				if p.Phase == phase && !done {
					done = true
					w.vanish(i)
				}
			}})
			if f := only(t, r); !done || f.Subject != string(large(bad)) {
				t.Errorf("%v%s", done, show(r))
			}
			names(t, r.Findings[0], other, bad.Digest, "v1")
		})
	}
}

// What vanishes while its bytes are read is none either: also when what comes is not
// what it was.
func TestVanishedWhileItIsRead(t *testing.T) {
	w := inMemory(t)
	i := w.image(repo, "a", "v1")
	key, done := w.data(large(i)), false
	w.bucket.Set(func(op, k string, pass func() error) error {
		if op == "get" && k == key && !done {
			done = true
			w.vanish(i)
		}
		return pass()
	})
	if r := w.run(verify.RunOptions{}); !done || r.Bad != 0 {
		t.Errorf("%v%s", done, show(r))
	}
	if info, err := w.store.Describe(context.Background(), large(i)); err != nil || len(info.Bad) > 0 {
		t.Errorf("it was quarantined: %+v %v", info, err)
	}
}
