package overlay_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// open opens a snapshotter on a new root, or on one that a test has used
// before, and closes it when the test ends.
func open(t testing.TB, root string) *overlay.Snapshotter {
	t.Helper()
	needs.Root(t)
	s, err := overlay.Open(overlay.Config{Root: root, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openNew(t testing.TB) (s *overlay.Snapshotter, root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	return open(t, root), root
}

// A tree maps paths to contents; a path that ends in a slash is a folder.
type tree map[string]string

func (files tree) write(t testing.TB, dir string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (files tree) check(t testing.TB, dir string) {
	t.Helper()
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %.40q (%d bytes), %v; want %.40q (%d bytes)", name, got, len(got), err, want, len(want))
		}
	}
}

// at mounts what a snapshot says it consists of, until the test ends or unmount
// is called.
func at(t testing.TB, mounts []mount.Mount) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	if err := mount.All(mounts, dir); err != nil {
		t.Fatal(err)
	}
	unmount = func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Error(err)
			_ = mount.UnmountAll(dir, syscall.MNT_DETACH)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

func prepare(t testing.TB, s snapshots.Snapshotter, key, parent string, opts ...snapshots.Opt) []mount.Mount {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), key, parent, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

// layer makes a committed snapshot with these files, as unpacking an image does.
func layer(t testing.TB, s snapshots.Snapshotter, name, parent string, files tree, opts ...snapshots.Opt) {
	t.Helper()
	dir, unmount := at(t, prepare(t, s, "extract "+name, parent, opts...))
	files.write(t, dir)
	unmount()
	if err := s.Commit(t.Context(), name, "extract "+name, opts...); err != nil {
		t.Fatal(err)
	}
}

func ref(chainID string) snapshots.Opt {
	return snapshots.WithLabels(map[string]string{snapshots.LabelSnapshotRef: chainID})
}

func names(t testing.TB, s snapshots.Snapshotter, filters ...string) []string {
	t.Helper()
	var names []string
	err := s.Walk(t.Context(), func(_ context.Context, info snapshots.Info) error {
		names = append(names, info.Name)
		return nil
	}, filters...)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// folders lists the numbered folders of a root.
func folders(t testing.TB, root string) []string {
	t.Helper()
	return list(t, filepath.Join(root, "sn"))
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
