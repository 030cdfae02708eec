package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
)

// Several clients unpack the same chain of layers at once, as containerd does
// for images that share layers: one of them wins each layer, the others are
// told, and in the end it is there once.
func TestOneChainPreparedByMany(t *testing.T) {
	s, root := openNew(t)
	const clients, layers = 8, 5
	var group errgroup.Group
	for client := range clients {
		group.Go(func() error {
			parent := ""
			for i := range layers {
				name := fmt.Sprint("layer", i)
				key := fmt.Sprintf("extract %d %s", client, name)
				_, err := s.Prepare(t.Context(), key, parent, ref("sha256:"+name))
				if errdefs.IsAlreadyExists(err) {
					parent = name
					continue
				}
				if err != nil {
					return err
				}
				err = s.Commit(t.Context(), name, key, ref("sha256:"+name))
				if errdefs.IsAlreadyExists(err) {
					err = s.Remove(t.Context(), key)
				}
				if err != nil {
					return err
				}
				parent = name
			}
			_, err := s.Prepare(t.Context(), fmt.Sprint("container", client), parent)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, "kind==committed"); len(got) != layers {
		t.Errorf("committed %q", got)
	}
	if got := folders(t, root); len(got) != layers+clients {
		t.Errorf("folders %q", got)
	}
}

// Everything at once, with keys that collide. What any call returns is an error
// of a class that can be expected, and in the end disk and metadata agree.
func TestEverythingAtOnce(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	ctx := t.Context()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 0))
			key := func() string { return fmt.Sprint("key", r.IntN(6)) }
			for range 60 {
				var err error
				switch r.IntN(9) {
				case 0, 1:
					_, err = s.Prepare(ctx, key(), "base")
				case 2:
					_, err = s.View(ctx, key(), "base")
				case 3:
					err = s.Commit(ctx, key(), key())
				case 4, 5:
					err = s.Remove(ctx, key())
				case 6:
					_, err = s.Usage(ctx, key())
				case 7:
					err = s.Cleanup(ctx)
				case 8:
					var stack interface{ Release() }
					if stack, err = s.Pin(ctx, key()); err == nil {
						stack.Release()
					}
				}
				if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsAlreadyExists(err) &&
					!errdefs.IsFailedPrecondition(err) && !errdefs.IsInvalidArgument(err) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := s.Cleanup(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := len(folders(t, root)), len(names(t, s)); got != want {
		t.Errorf("%d folders, %d snapshots", got, want)
	}
	if got := list(t, root+"/trash"); len(got) != 0 {
		t.Errorf("trash %q", got)
	}
	dir, _ := at(t, prepare(t, s, "container", "base"))
	tree{"file": "image"}.check(t, dir)
}

// One who waits for other writers can give up.
func TestAWriterThatWaitsCanBeCalledBack(t *testing.T) {
	s, _ := openNew(t)
	layer(t, s, "base", "", nil)
	inside, leave := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		// An option runs inside of the transaction of Commit.
		prepare(t, s, "slow", "base")
		first := true
		_ = s.Commit(context.WithoutCancel(t.Context()), "slow done", "slow", func(*snapshots.Info) error {
			if !first {
				close(inside)
				<-leave
			}
			first = false
			return nil
		})
	})
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Remove(ctx, "slow"); !errors.Is(err, context.Canceled) {
		t.Errorf("Remove: %v, want context.Canceled", err)
	}
	// Those who only read do not wait.
	if _, err := s.Stat(t.Context(), "base"); err != nil {
		t.Error(err)
	}
	if got := names(t, s); !slices.Contains(got, "base") {
		t.Errorf("Walk: %q", got)
	}
	close(leave)
	group.Wait()
}
