package schedule

import (
	"context"
	"testing"
	"time"
)

// A manifest is put whose blobs lie there, their promises over, while another
// server deletes the only other manifest that names them, and a collector goes
// through its cycles.
func pushAgainstCollection(w *World) func() {
	a, b, c := w.Start("a", 0), w.Start("b", Skew/2), w.Start("c", -Skew/2)
	ctx := context.Background()
	_ = a.Push(ctx, "a", first, "x")
	w.wait(Grace + time.Hour)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Put(ctx, "a", alias, "y") })
		b.Go(func(ctx context.Context) { _ = b.Delete(ctx, "a", first) })
		c.Go(func(ctx context.Context) {
			_ = c.Collect(ctx, false)
			c.Wait(11 * time.Minute)
			_ = c.Collect(ctx, false)
		})
	}
}

func TestEverySchedule(t *testing.T) {
	for _, e := range []struct {
		name  string
		least int // schedules there must be
		Explorer
	}{
		{"a push against collection", 800, Explorer{Scenario: pushAgainstCollection, Config: Config{Few: true}, Preemptions: 1, Every: 200}},
	} {
		t.Run(e.name, func(t *testing.T) {
			x := e.Run(t)
			if x.Broken != "" {
				t.Fatalf("%s\n%s", x.Broken, x.Tail(200))
			}
			if !x.All || x.Schedules < e.least {
				t.Errorf("%d schedules, all: %v; there were %d at least", x.Schedules, x.All, e.least)
			}
			t.Logf("%d schedules, %d steps", x.Schedules, x.Steps)
		})
	}
}
