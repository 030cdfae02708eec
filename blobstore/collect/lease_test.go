package collect

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/collect/runs"
)

// One holds it at a time; one who does not renew it loses it, and sees that.
func TestTheLeaseIsTakenOverFromTheDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Holder: "a"})
	other := w.another(Options{Holder: "b"})
	l, r, err := w.take(t.Context())
	if err != nil || r.Holder != "a" || r.Generation != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, r, err := other.take(t.Context()); !errors.Is(err, errHeld) || r.Holder != "a" {
		t.Errorf("%+v, %v", r, err)
	}
	w.clock.Turn(leaseTime + time.Second)
	if _, r, err := other.take(t.Context()); err != nil || r.Holder != "b" || r.Generation != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := l.change(t.Context(), w.clock.Now().Add(time.Hour)); !errors.Is(err, errHeld) {
		t.Errorf("a former holder renews it: %v", err)
	}
}

func TestTheLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Holder: "a"})
	w.cycle(0)
	other := w.another(Options{Holder: "b"})
	if _, r, err := other.take(t.Context()); err != nil || r.Generation != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// By schedule a cycle waits for who holds the lease; by hand it does not.
func TestByHandNobodyIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Holder: "a"})
	d := w.put(repo, "garbage", 10)
	w.clock.Turn(100 * time.Hour)
	if _, _, err := w.another(Options{Holder: "b"}).take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if wait := w.turn(t.Context()); wait <= 0 || wait > leaseTime+time.Minute {
		t.Errorf("it waits for %v", wait)
	}
	w.want("live", d)
	w.cycle(0)
	w.want("condemned", d)
}

// A schedule runs one cycle in its time, whichever server; a full one after its
// own, and one that failed again sooner.
func TestTheSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Holder: "a", Every: 24 * time.Hour, FullEvery: 72 * time.Hour})
	other := w.another(Options{Holder: "b", Every: 24 * time.Hour, FullEvery: 72 * time.Hour})
	last := func() Report {
		r, _, err := w.Last(t.Context())
		w.must(err)
		return r
	}
	var full []bool
	for range 5 {
		w.turn(t.Context())
		began := last().Began
		if began.Before(w.clock.Now().Add(-time.Minute)) {
			t.Error("no cycle in its time")
		}
		full = append(full, last().Full)
		if wait := other.turn(t.Context()); last().Began != began || wait < 23*time.Hour {
			t.Errorf("a second cycle, or one in %v", wait)
		}
		w.clock.Turn(24 * time.Hour)
	}
	if !full[0] || full[1] || full[2] || !full[3] || full[4] {
		t.Errorf("full: %v", full)
	}
	w.bucket.set(func(_ context.Context, op, key string) error {
		if op == "list" {
			return errBroken
		}
		return nil
	})
	if wait := w.turn(t.Context()); wait > time.Hour || last().Error == "" || last().Succeeded.IsZero() {
		t.Errorf("%v, %+v", wait, last())
	}
	w.bucket.set(nil)
	w.clock.Turn(time.Hour)
	if w.turn(t.Context()); last().Error != "" {
		t.Errorf("%+v", last())
	}
}

// The loop ends with its context, and has run as many cycles as there was time
// for: whoever sleeps turns the clock.
func TestTheLoopRunsByItself(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	w := newWorld(t, Options{Ended: func(Report) {
		if n++; n == 3 {
			cancel()
		}
	}})
	began := w.clock.Now()
	w.Loop(ctx)
	if took := w.clock.Now().Sub(began); n != 3 || took < 48*time.Hour || took > 80*time.Hour {
		t.Errorf("%d cycles in %v", n, took)
	}
}

// What is read from sorted files is a form of its own: it is checked.
func FuzzOwner(f *testing.F) {
	o := owner{digest: image("a", 1).Digest, repo: "a/b", how: sparse, size: 5, since: 7, mediaType: "x"}
	b, err := o.encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > runs.MaxLength {
			return
		}
		o, prefix, err := decodeOwner(b)
		if err != nil {
			return
		}
		again, err := o.encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		o2, prefix2, err := decodeOwner(again)
		if err != nil || o2 != o || len(prefix) < 33 || len(prefix2) < 33 {
			t.Errorf("%+v is read back as %+v, %v", o, o2, err)
		}
	})
}
