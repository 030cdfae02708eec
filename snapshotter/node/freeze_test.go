package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// startAgent starts a containerd, with a container in it, and an agent for it.
func startAgent(t *testing.T) (*Agent, *containerdtest.Host, *containerdtest.Container) {
	t.Helper()
	needs.Root(t)
	dir, err := os.MkdirTemp("", "node") // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	root, socket := filepath.Join(dir, "root"), filepath.Join(dir, "sock")
	sn, err := overlay.Open(overlay.Config{Root: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := snapshotter.Run(ctx, snapshotter.Config{Snapshots: sn, Socket: socket, Log: log}); err != nil {
			t.Errorf("snapshotter: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := sn.Close(); err != nil {
			t.Error(err)
		}
	})
	h := containerdtest.Start(t, containerdtest.Options{Snapshotter: socket})
	a, err := New(Config{Containerd: h.Socket, Snapshots: sn, Root: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, h, h.Run(t, "web-1", h.Import(t, containerdtest.Image{Name: "example.org/app:1"}))
}

func taskStatus(t *testing.T, h *containerdtest.Host, c *containerdtest.Container) containerd.ProcessStatus {
	t.Helper()
	task, err := c.Task(h.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := task.Status(h.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Status
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
		pause(t.Context(), 20*time.Millisecond)
	}
}

func notes(t *testing.T, a *Agent) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(a.frozenFolder(), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAContainerStandsStillForAsLongAsItIsRead(t *testing.T) {
	a, h, c := startAgent(t)
	found, err := a.find(t.Context(), "", "web-1")
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("cannot be read")
	for _, want := range []error{nil, failed} {
		stood, err := a.frozen(t.Context(), found, true, func() error {
			if got := taskStatus(t, h, c); got != containerd.Paused {
				t.Errorf("while it is read it is %s", got)
			}
			// Whoever looks for what was left behind leaves this alone.
			a.thawAll(t.Context())
			if got := taskStatus(t, h, c); got != containerd.Paused || len(notes(t, a)) != 1 {
				t.Errorf("then it is %s, noted in %q", got, notes(t, a))
			}
			return want
		})
		if !errors.Is(err, want) || stood <= 0 {
			t.Errorf("%v after %v, want %v", err, stood, want)
		}
		if got := taskStatus(t, h, c); got != containerd.Running || len(notes(t, a)) != 0 {
			t.Errorf("afterwards it is %s, noted in %q", got, notes(t, a))
		}
	}

	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_, _ = a.frozen(t.Context(), found, true, func() error { panic("of whoever reads") })
	}()
	if got := taskStatus(t, h, c); got != containerd.Running {
		t.Errorf("after a panic it is %s", got)
	}

	// The caller has gone.
	ctx, cancel := context.WithCancel(t.Context())
	_, err = a.frozen(ctx, found, true, func() error { cancel(); return ctx.Err() })
	if got := taskStatus(t, h, c); !errors.Is(err, context.Canceled) || got != containerd.Running {
		t.Errorf("after %v it is %s", err, got)
	}

	// Somebody else has paused it, and will resume it.
	h.Ctr(t, "task", "pause", "web-1")
	stood, err := a.frozen(t.Context(), found, true, func() error { return nil })
	if got := taskStatus(t, h, c); err != nil || stood != 0 || got != containerd.Paused {
		t.Errorf("one that stood still before: %v, %v, then %s", stood, err, got)
	}
	h.Ctr(t, "task", "resume", "web-1")

	c.Stop(t) // since it was found
	stood, err = a.frozen(t.Context(), found, true, func() error { return nil })
	if err != nil || stood != 0 || len(notes(t, a)) != 0 {
		t.Errorf("one that has stopped: %v, %v, noted in %q", stood, err, notes(t, a))
	}
}

// containerd goes away while a container stands still, so that it cannot be
// resumed: it goes on as soon as containerd is back.
func TestAContainerGoesOnWhenContainerdIsBack(t *testing.T) {
	a, h, c := startAgent(t)
	found, err := a.find(t.Context(), "", "web-1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var thawing sync.WaitGroup
	defer thawing.Wait()
	defer cancel()
	thawing.Go(func() { a.keepThawing(ctx) })
	_, err = a.frozen(t.Context(), found, true, func() error {
		return syscall.Kill(h.Pid(), syscall.SIGKILL)
	})
	if err == nil || len(notes(t, a)) != 1 {
		t.Errorf("it cannot have been resumed: %v, noted in %q", err, notes(t, a))
	}
	h.Restart(t)
	until(t, "the container going on", func() bool { return taskStatus(t, h, c) == containerd.Running })
	until(t, "the note gone", func() bool { return len(notes(t, a)) == 0 })
	if got := c.Exec(t, "echo", "on"); got != "on\n" {
		t.Errorf("it says %q", got)
	}
}
