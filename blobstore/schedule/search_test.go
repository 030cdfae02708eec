package schedule

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestRandomSchedules walks at random. LAMINA_SEED=n runs the one episode n and
// shows its steps; LAMINA_STEPS is how many steps are made in all.
func TestRandomSchedules(t *testing.T) {
	steps := number(t, "LAMINA_STEPS", 10_000)
	if os.Getenv("LAMINA_SOAK") != "" {
		steps = number(t, "LAMINA_STEPS", 1_000_000)
	}
	first, only := uint64(1), false
	if os.Getenv("LAMINA_SEED") != "" {
		first, only = uint64(number(t, "LAMINA_SEED", 0)), true
	}
	counts := map[string]int{}
	made, began := 0, time.Now()
	seed := first
	for ; made < steps; seed++ {
		o := Search{Seed: seed, Steps: 2500, Patient: seed%4 == 0}.Run(t)
		made += o.Steps
		for what, n := range o.Counts {
			counts[what] += n
		}
		if o.Broken != "" {
			t.Fatalf("LAMINA_SEED=%d, step %d: %s\n%s", seed, o.Steps, o.Broken, o.Tail(number(t, "LAMINA_TAIL", 120)))
		}
		if only {
			t.Logf("%s", o.Tail(len(o.Trace)))
			break
		}
	}
	t.Logf("seeds %d to %d: %d steps, %.0f a second", first, seed-1, made, float64(made)/time.Since(began).Seconds())
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%8d %s", counts[what], what)
	}
	for _, what := range happens {
		if counts[what] == 0 && made > 100_000 {
			t.Errorf("in %d steps it never happened: %s", made, what)
		}
	}
}

// happens is what a long search must have seen.
var happens = []string{
	"condemned", "revived", "gone", "drained", "data deleted", "uploaded again after gone", "barred", "publishing refused",
	"blob's tombstone removed", "name's tombstone removed", "cycle of a collector",
	"manifest acknowledged", "manifest refused", "manifest deleted", "tag acknowledged", "blob read",
	"fault (answer lost)", "fault (fails)", "fault (delayed)", "fault (and again)", "late write landed", "stalled call", "server died",
}

func number(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
