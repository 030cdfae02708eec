package overlay_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
)

// disk is an ext4 filesystem in a file, mounted on a loop device.
func disk(t *testing.T, size int64) (image, dir string) {
	t.Helper()
	needs.Root(t)
	needs.Commands(t, "mkfs.ext4", "mount")
	image = filepath.Join(t.TempDir(), "disk")
	file, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		t.Fatal(err)
	}
	// Without lazy initialisation, which would write later.
	run(t, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	return image, mountDisk(t, image)
}

func mountDisk(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	// commit=60: the journal is not written by itself while the test runs.
	out, err := exec.Command("mount", "-o", "loop,commit=60", image, dir).CombinedOutput()
	needs.That(t, err == nil, fmt.Sprintf("needs loop devices: %v: %s", err, out))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// powerCut returns the disk as it would be found after a loss of power now: with
// what has been written to the device, without what is only in memory.
func powerCut(t *testing.T, image string) string {
	t.Helper()
	from, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	return mountDisk(t, to.Name())
}

func TestWhatWasAcknowledgedSurvivesALossOfPower(t *testing.T) {
	image, dir := disk(t, 64<<20)
	root := filepath.Join(dir, "root")
	s := open(t, root)
	content := strings.Repeat("content ", 10_000)
	layer(t, s, "base", "", tree{"file": content, "deep/er/file": content})
	// Not acknowledged by anyone: shows that the cut loses something at all.
	tree{"unflushed": content}.write(t, dir)
	after := powerCut(t, image)
	if _, err := os.Stat(filepath.Join(after, "unflushed")); err == nil {
		t.Fatal("a file that was not flushed survived: the test tests nothing")
	}
	tree{"root/sn/1/fs/file": content, "root/sn/1/fs/deep/er/file": content}.check(t, after)

	layer(t, s, "app", "base", tree{"app": content})
	prepare(t, s, "container", "app")
	prepare(t, s, "gone", "app")
	if err := s.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	after = powerCut(t, image)
	found := open(t, filepath.Join(after, "root"))
	if got := strings.Join(names(t, found), " "); got != "app base container" {
		t.Errorf("snapshots after the cut: %s", got)
	}
	mounts, err := found.Mounts(t.Context(), "container")
	if err != nil {
		t.Fatal(err)
	}
	container, unmount := at(t, mounts)
	tree{"file": content, "deep/er/file": content, "app": content}.check(t, container)
	unmount()
	if err := found.Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	if got := folders(t, filepath.Join(after, "root")); len(got) != 3 {
		t.Errorf("folders %q", got)
	}
	if err := found.Close(); err != nil {
		t.Error(err)
	}
}

// A full disk is an error for those who want more of it, and for nobody else:
// what is there can be used and removed, also after a restart, and then there
// is room again.
func TestAFullDisk(t *testing.T) {
	_, dir := disk(t, 16<<20)
	root := filepath.Join(dir, "root")
	s := open(t, root)
	layer(t, s, "base", "", tree{"file": "image"})
	container := prepare(t, s, "container", "base")
	const more = 40
	for i := range more {
		prepare(t, s, fmt.Sprint("more", i), "base", snapshots.WithLabels(map[string]string{"label": strings.Repeat("x", 100*i)}))
	}
	tree{"big": strings.Repeat("x", 2<<20)}.write(t, filepath.Join(root, "sn/2/fs"))
	fill(t, filepath.Join(dir, "filler"))

	_, err := s.Prepare(t.Context(), "another", "base")
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("Prepare on a full disk: %v, want ENOSPC", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	mounted, unmount := at(t, container)
	tree{"file": "image"}.check(t, mounted)
	unmount()
	for i := range more {
		if err := s.Remove(t.Context(), fmt.Sprint("more", i)); err != nil {
			t.Fatalf("Remove on a full disk: %v", err)
		}
	}
	if err := s.Remove(t.Context(), "container"); err != nil {
		t.Fatalf("Remove on a full disk: %v", err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatalf("Cleanup on a full disk: %v", err)
	}
	prepare(t, s, "another", "base")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// fill leaves no block and no inode.
func fill(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; size /= 2 {
		file, err := os.OpenFile(filepath.Join(dir, "blocks"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = file.Write(block[:size])
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
	for i := 0; ; i++ {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o755); err != nil {
			return
		}
	}
}
