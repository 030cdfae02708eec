package overlay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
)

func TestRemovingAContainerLeavesItsImage(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	layer(t, s, "app", "base", tree{"app": "image"})
	dir, unmount := at(t, prepare(t, s, "container", "app"))
	tree{"file": "written", "deep/er/file": "written"}.write(t, dir)
	unmount()

	if err := s.Remove(t.Context(), "container"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "container"); !errdefs.IsNotFound(err) {
		t.Errorf("Stat after Remove: %v", err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := append(folders(t, root), list(t, root+"/trash")...); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("on disk after Cleanup: %q", got)
	}
	// The key is free, and the image as it was.
	dir, _ = at(t, prepare(t, s, "container", "app"))
	tree{"file": "image", "app": "image"}.check(t, dir)
}

// A container's snapshot can be removed while it is still mounted somewhere.
func TestRemovingWhatIsMounted(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	dir, unmount := at(t, prepare(t, s, "container", "base"))
	tree{"file": "written"}.write(t, dir)
	if err := s.Remove(t.Context(), "container"); err != nil {
		t.Fatal(err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	unmount()
	dir, _ = at(t, prepare(t, s, "container", "base"))
	tree{"file": "image"}.check(t, dir)
	if got := folders(t, root); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("folders %q", got)
	}
}

func TestCleanupRemovesWhatNothingNames(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	tree{"sn/99/fs/file": "orphan", "sn/new-abc/fs/file": "orphan", "trash/7-x/fs/a/b": "trash", "trash/stray": "trash"}.write(t, root)
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := append(folders(t, root), list(t, root+"/trash")...); !slices.Equal(got, []string{"1"}) {
		t.Errorf("on disk after Cleanup: %q", got)
	}
	tree{"sn/1/fs/file": "image"}.check(t, root)
}

func TestOpenRemovesWhatNothingNames(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// 2 is the ID that the next snapshot gets.
	tree{"sn/2/fs/file": "orphan", "trash/7-x/fs/a/b": "trash"}.write(t, root)
	s = open(t, root)
	if got := folders(t, root); !slices.Equal(got, []string{"1"}) {
		t.Errorf("folders %q", got)
	}
	dir, _ := at(t, prepare(t, s, "container", "base"))
	tree{"file": "image"}.check(t, dir)
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root+"/trash"); len(got) != 0 {
		t.Errorf("trash %q", got)
	}
}

func TestAPrepareThatFailedDoesNotBlockTheNext(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "image"})
	// What a transaction leaves that could not be saved: the folder of the next ID.
	tree{"sn/2/fs/file": "left", "sn/2/work/": ""}.write(t, root)
	dir, _ := at(t, prepare(t, s, "container", "base"))
	tree{"file": "image"}.check(t, dir)
}

// Deleting must not go on into something that is mounted in a removed snapshot.
func TestWhatIsMountedInTheTrashIsNotDeleted(t *testing.T) {
	s, root := openNew(t)
	prepare(t, s, "container", "")
	elsewhere := t.TempDir()
	tree{"precious": "kept"}.write(t, elsewhere)
	tree{"sn/1/fs/mnt/": "", "sn/1/fs/other": ""}.write(t, root)
	if err := unix.Mount(elsewhere, root+"/sn/1/fs/mnt", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	// It is below another name by the time it is unmounted.
	where := root + "/sn/1/fs/mnt"
	t.Cleanup(func() { _ = unix.Unmount(where, unix.MNT_DETACH) })

	if err := s.Remove(t.Context(), "container"); err != nil {
		t.Fatal(err)
	}
	trash := list(t, root+"/trash")
	if len(trash) != 1 {
		t.Fatalf("trash %q", trash)
	}
	where = filepath.Join(root, "trash", trash[0], "fs/mnt")
	err := s.Cleanup(t.Context())
	if err == nil || !strings.Contains(err.Error(), where) {
		t.Errorf("Cleanup: %v, want an error that names %s", err, where)
	}
	tree{"precious": "kept"}.check(t, elsewhere)

	if err := unix.Unmount(where, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup after unmounting: %v", err)
	}
	if got := list(t, root+"/trash"); len(got) != 0 {
		t.Errorf("trash %q", got)
	}
	tree{"precious": "kept"}.check(t, elsewhere)
}

// What cannot be deleted must not keep the rest from being deleted.
func TestOneThatCannotBeDeletedIsReported(t *testing.T) {
	s, root := openNew(t)
	for i := range 3 {
		prepare(t, s, fmt.Sprint(i), "")
	}
	stuck := root + "/sn/2/fs/immutable"
	tree{"sn/1/fs/a": "", "sn/2/fs/immutable": "", "sn/3/fs/a": ""}.write(t, root)
	free := makeImmutable(t, stuck)

	for i := range 3 {
		if err := s.Remove(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Cleanup(t.Context()); err == nil || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("Cleanup: %v, want an error that names the file", err)
	}
	if got := list(t, root+"/trash"); len(got) != 1 || !strings.HasPrefix(got[0], "2-") {
		t.Errorf("trash %q", got)
	}
	free()
	if err := s.Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup, free again: %v", err)
	}
}

func makeImmutable(t *testing.T, path string) (free func()) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	free = func() { _ = unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, 0) }
	t.Cleanup(func() { free(); file.Close() })
	const immutable = 0x10 // FS_IMMUTABLE_FL, linux/fs.h
	err = unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, immutable)
	needs.That(t, err == nil, "needs a filesystem with immutable files below "+os.TempDir())
	return free
}
