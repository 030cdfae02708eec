package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/verify"
)

// A server that is killed at any step of a run reads again, when the run goes on,
// only what was under way: and finds what there is to find.
func TestKilledAtEachStep(t *testing.T) {
	const under = 4 + 1 + 1 // blobs that wait their turn, is being read, and is being saved
	build := func() *world {
		w := inMemory(t)
		for n := range 10 {
			i := w.image(repo, fmt.Sprint("i", n), "t")
			switch n {
			case 3:
				w.flip(w.data(large(i)))
			case 7:
				w.remove(blobstore.BlobKey(i.Config))
			case 9:
				w.remove(w.data(large(i)))
			}
		}
		return w
	}
	subjects := func(r verify.Report) (all []string) {
		for _, f := range r.Findings {
			all = append(all, f.Subject)
		}
		slices.Sort(all)
		return all
	}
	want := subjects(build().run(verify.RunOptions{}))
	if len(want) != 3 {
		t.Fatal(want)
	}
	resumed := 0
	for step := 1; ; step += 9 {
		w := build()
		var mu sync.Mutex
		calls, reads := 0, map[string]int{}
		killed := func(op, key string, pass func() error) error {
			mu.Lock()
			calls++
			dead := calls >= step
			if !dead && op == "get" && strings.HasPrefix(key, blobstore.DataPrefix) {
				reads[key]++
			}
			mu.Unlock()
			if dead {
				return fmt.Errorf("the process was killed: %w", bucket.ErrUnavailable)
			}
			return pass()
		}
		w.bucket.Set(killed)
		o := verify.RunOptions{Parallel: 1}
		v := w.verifier(verify.Options{SaveBlobs: 1})
		_, err := v.Run(context.Background(), o)
		w.bucket.Set(nil)
		if err == nil {
			break // there are no more steps
		}
		w.bucket.Set(func(op, key string, pass func() error) error {
			if op == "get" && strings.HasPrefix(key, blobstore.DataPrefix) {
				mu.Lock()
				reads[key]++
				mu.Unlock()
			}
			return pass()
		})
		r, err := w.verifier(verify.Options{SaveBlobs: 1}).Run(context.Background(), o)
		w.must(err)
		if got := subjects(r); !slices.Equal(got, want) {
			t.Fatalf("killed at step %d, it finds %v, want %v", step, got, want)
		}
		if r.Resumed {
			resumed++
		}
		again := 0
		for _, n := range reads {
			again += n - 1
		}
		if again > under+2 { // what is bad is read twice
			t.Fatalf("%d blobs were read again: %v", again, reads)
		}
		if n := len(reads); n != 10 {
			t.Fatalf("%d blobs were read or asked for, want 10", n)
		}
	}
	if resumed < 5 {
		t.Errorf("only %d runs went on", resumed)
	}
}

// With other options, or when it is asked to, a run begins anew; and so it does when
// where the last one was cannot be read.
func TestBeginsAnew(t *testing.T) {
	w := inMemory(t)
	for n := range 6 {
		w.image(repo, fmt.Sprint("i", n))
	}
	brokenOff := func(o verify.RunOptions) {
		t.Helper()
		gets := 0
		w.bucket.Set(func(op, key string, pass func() error) error {
			if op == "get" && strings.HasPrefix(key, blobstore.DataPrefix) {
				if gets++; gets > 3 {
					return bucket.ErrUnavailable
				}
			}
			return pass()
		})
		o.Parallel, o.Restart = 1, true
		if r, err := w.verifier(verify.Options{SaveBlobs: 1}).Run(context.Background(), o); err == nil || !r.Ended.IsZero() {
			t.Fatalf("not broken off: %+v", r)
		}
		w.bucket.Set(nil)
	}
	brokenOff(verify.RunOptions{})
	last, ok, err := w.verifier(verify.Options{}).Last(context.Background())
	if err != nil || !ok || !last.Ended.IsZero() || last.Read == 0 {
		t.Fatalf("%+v %v %v", last, ok, err)
	}
	for name, o := range map[string]verify.RunOptions{
		"restart": {Restart: true}, "sample": {Sample: 0.99}, "seed": {Seed: 1}, "repositories": {Repositories: []string{"demo/*"}},
	} {
		brokenOff(verify.RunOptions{})
		if r := w.run(o); r.Resumed {
			t.Errorf("%s: goes on", name)
		}
	}
	brokenOff(verify.RunOptions{})
	w.clock.Turn(8 * 24 * time.Hour)
	if r := w.run(verify.RunOptions{}); r.Resumed {
		t.Error("goes on after 8 days")
	}
	for _, bad := range []string{"", "{", `{"rev":"x"}`, `{"rev":"x","run":"y","options":{"sample":1},"after":"/etc/passwd"}`} {
		w.set("stats/verification", []byte(bad))
		if r := w.run(verify.RunOptions{}); r.Resumed || r.Read != 6 {
			t.Errorf("goes on from %q: %+v", bad, r)
		}
		if bad != "" {
			var m map[string]any
			w.must(json.Unmarshal(w.get("stats/verification"), &m))
		}
	}
	brokenOff(verify.RunOptions{})
	if r := w.run(verify.RunOptions{}); !r.Resumed || r.Read != 6 {
		t.Errorf("does not go on: %+v", r)
	}
	last, ok, err = w.verifier(verify.Options{}).Last(context.Background())
	if err != nil || !ok || last.Ended.IsZero() || last.Read != 6 {
		t.Errorf("%+v %v %v", last, ok, err)
	}
}
