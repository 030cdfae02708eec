package snapshotter_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
)

// What was mounted stays mounted, and can be mounted again, whatever becomes of
// the service meanwhile.
func TestMountsOutliveTheService(t *testing.T) {
	needs.Root(t)
	dir := tempDir(t)
	root, socket := filepath.Join(dir, "root"), filepath.Join(dir, "s", "sock")
	p := start(t, root, socket, "")
	for _, s := range []step{prepareStep("extract", "", "image"), commitStep("base", "extract")} {
		if err := s.call(p.ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := p.Prepare(p.ctx, "container", "base")
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	if err := mount.All(mounts, target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	file := func(name string) string { return filepath.Join(target, name) }
	if err := os.WriteFile(file("before"), []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}

	for _, end := range []func(){p.kill, func() { p.stop(t) }} {
		end()
		if err := os.WriteFile(file("without"), []byte("without"), 0o644); err != nil {
			t.Error("writing while there is no service:", err)
		}
		p = start(t, root, socket, "")
		again, err := p.Mounts(p.ctx, "container")
		if err != nil || again[0].Options[1] != mounts[0].Options[1] {
			t.Errorf("mounts after a restart: %+v, %v; before: %+v", again, err, mounts)
		}
		if err := p.Cleanup(p.ctx); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"before", "without"} {
			if got, err := os.ReadFile(file(name)); err != nil || string(got) != name {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if got, err := os.ReadFile(file("content")); err != nil || string(got) != "image" {
			t.Errorf("the image's file: %q, %v", got, err)
		}
	}

	// The container stops and starts again: its files are there.
	if err := unix.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	again, err := p.Mounts(p.ctx, "container")
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.All(again, target); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file("without")); err != nil || string(got) != "without" {
		t.Errorf("after mounting again: %q, %v", got, err)
	}
	if err := unix.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(p.ctx, "container"); err != nil {
		t.Error(err)
	}
	p.stop(t)
}
