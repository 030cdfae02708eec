package snapshotter_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/laminastore/lamina/internal/needs"
)

// TestKilledWhileManyClientsAreAtWork is the crash that nobody chose: several
// clients do as they please, and at some time the service dies, again and
// again. Each client knows what it was told.
func TestKilledWhileManyClientsAreAtWork(t *testing.T) {
	needs.Root(t)
	rounds := 8
	if os.Getenv("LAMINA_SOAK") != "" {
		rounds = 300
	}
	dir := tempDir(t)
	root, socket := filepath.Join(dir, "root"), filepath.Join(dir, "s", "sock")
	workers := make([]*worker, 4)
	for i := range workers {
		workers[i] = &worker{id: i, rand: rand.New(rand.NewPCG(uint64(i), 7)), knows: map[string]snapshots.Kind{}}
	}
	choose := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		p := start(t, root, socket, "")
		for _, w := range workers {
			w.check(t, p)
		}
		// Killed by whoever takes the last of these answers, in the middle of what
		// the others do.
		var answers atomic.Int64
		answers.Store(int64(10 + choose.IntN(60)))
		var group sync.WaitGroup
		for _, w := range workers {
			group.Go(func() {
				for w.step(t, p) {
					if answers.Add(-1) == 0 {
						p.kill()
					}
				}
			})
		}
		group.Wait()
		p.kill()
		if t.Failed() {
			t.Fatalf("in round %d\n%s", round, p.output)
		}
	}
	p := start(t, root, socket, "")
	total := 0
	for _, w := range workers {
		w.check(t, p)
		total += len(w.knows)
	}
	if folders := list(t, filepath.Join(root, "sn")); len(folders) != total {
		t.Errorf("%d folders for %d snapshots", len(folders), total)
	}
	p.stop(t)
}

// A worker has keys of its own.
type worker struct {
	id    int
	rand  *rand.Rand
	knows map[string]snapshots.Kind
	// unclear is what the worker knows if the call that got no answer was made.
	unclear map[string]snapshots.Kind
}

// step makes a call, and tells whether there was an answer.
func (w *worker) step(t *testing.T, p *process) (answered bool) {
	key := func() string { return fmt.Sprintf("worker%d-key%d", w.id, w.rand.IntN(5)) }
	after := maps.Clone(w.knows)
	var err error
	switch w.rand.IntN(3) {
	case 0:
		key := key()
		_, err = p.Prepare(p.ctx, key, "")
		if _, there := after[key]; !there {
			after[key] = snapshots.KindActive
		}
	case 1:
		key, name := key(), key()
		err = p.Commit(p.ctx, name, key)
		if _, taken := after[name]; after[key] == snapshots.KindActive && !taken {
			delete(after, key)
			after[name] = snapshots.KindCommitted
		}
	case 2:
		key := key()
		err = p.Remove(p.ctx, key)
		delete(after, key)
	}
	switch {
	case err == nil:
		w.knows = after
	case errdefs.IsNotFound(err), errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err):
	case killed(p, err):
		w.unclear = after
		return false
	default:
		t.Error(err)
		return false
	}
	return true
}

// check sees that what the worker knows is so, and settles what it does not.
func (w *worker) check(t *testing.T, p *process) {
	t.Helper()
	found := map[string]snapshots.Kind{}
	err := p.Walk(p.ctx, func(_ context.Context, info snapshots.Info) error {
		found[info.Name] = info.Kind
		return nil
	}, fmt.Sprintf("name~=/^worker%d-/", w.id))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.output)
	}
	if !maps.Equal(found, w.knows) && (w.unclear == nil || !maps.Equal(found, w.unclear)) {
		t.Errorf("worker %d found %v, knows %v, or %v", w.id, found, w.knows, w.unclear)
	}
	w.knows, w.unclear = found, nil
}
