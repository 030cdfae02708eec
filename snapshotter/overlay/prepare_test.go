package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestContainersDoNotSeeEachOthersWrites(t *testing.T) {
	s, _ := openNew(t)
	layer(t, s, "base", "", tree{"etc/motd": "image", "bin/tool": "image"})
	layer(t, s, "app", "base", tree{"app/main": "image"})

	one, _ := at(t, prepare(t, s, "one", "app"))
	two, _ := at(t, prepare(t, s, "two", "app"))
	tree{"etc/motd": "one", "new": "one"}.write(t, one)
	if err := os.Remove(filepath.Join(one, "bin/tool")); err != nil {
		t.Fatal(err)
	}
	tree{"app/main": "two"}.write(t, two)

	tree{"etc/motd": "one", "new": "one", "app/main": "image"}.check(t, one)
	tree{"etc/motd": "image", "bin/tool": "image", "app/main": "two"}.check(t, two)
	if _, err := os.Stat(filepath.Join(two, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("one's new file is seen in two: %v", err)
	}
	three, _ := at(t, prepare(t, s, "three", "app"))
	tree{"etc/motd": "image", "bin/tool": "image", "app/main": "image"}.check(t, three)
}

func TestWhatASnapshotIsMountedAs(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "one", "", nil)    // 1
	layer(t, s, "two", "one", nil) // 2
	fs := func(id int) string { return fmt.Sprintf("%s/sn/%d/fs", root, id) }
	common := []string{"index=off", "metacopy=off", "redirect_dir=nofollow"}

	for _, tt := range []struct {
		name string
		make func(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error)
		on   string
		want mount.Mount
	}{
		{"an active one on nothing", s.Prepare, "", mount.Mount{Type: "bind", Source: fs(3), Options: []string{"rw", "rbind"}}},
		{"a view of nothing", s.View, "", mount.Mount{Type: "bind", Source: fs(4), Options: []string{"ro", "rbind"}}},
		{"a view of one layer", s.View, "one", mount.Mount{Type: "bind", Source: fs(1), Options: []string{"ro", "rbind"}}},
		{"an active one on one layer", s.Prepare, "one", mount.Mount{Type: "overlay", Source: "overlay",
			Options: append([]string{"workdir=" + filepath.Dir(fs(6)) + "/work", "upperdir=" + fs(6), "lowerdir=" + fs(1)}, common...)}},
		{"a view of two layers", s.View, "two", mount.Mount{Type: "overlay", Source: "overlay",
			Options: append([]string{"lowerdir=" + fs(2) + ":" + fs(1)}, common...)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.make(t.Context(), tt.name, tt.on)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].Type != tt.want.Type || got[0].Source != tt.want.Source || !slices.Equal(got[0].Options, tt.want.Options) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			again, err := s.Mounts(t.Context(), tt.name)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
				t.Errorf("Mounts: %+v, %v", again, err)
			}
		})
	}
}

// Past a page of options containerd's mount package shortens the paths, which
// works for folders side by side.
func TestAStackOf120Layers(t *testing.T) {
	s, _ := openNew(t)
	parent := ""
	for i := range 120 {
		name := fmt.Sprintf("layer-%d", i)
		dir, unmount := at(t, prepare(t, s, "extract "+name, parent))
		tree{fmt.Sprintf("files/%d", i): name, "last": name}.write(t, dir)
		unmount()
		if err := s.Commit(t.Context(), name, "extract "+name); err != nil {
			t.Fatal(err)
		}
		parent = name
	}
	mounts := prepare(t, s, "container", parent)
	if options := strings.Join(mounts[0].Options, ","); len(options) < os.Getpagesize() {
		t.Fatalf("options of %d bytes fit on a page: the test tests nothing", len(options))
	}
	dir, _ := at(t, mounts)
	tree{"files/0": "layer-0", "files/119": "layer-119", "last": "layer-119"}.check(t, dir)
	tree{"last": "container"}.write(t, dir)
}

func TestTheTopFolderKeepsItsOwnerAndMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077)) // a strict umask must not show in images
	s, _ := openNew(t)
	dir, unmount := at(t, prepare(t, s, "extract", ""))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("of an empty layer: %v, %v; want 0755", info.Mode(), err)
	}
	if err := errors.Join(os.Chown(dir, 7, 8), os.Chmod(dir, 0o1711|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	unmount()
	if err := s.Commit(t.Context(), "base", "extract"); err != nil {
		t.Fatal(err)
	}
	layer(t, s, "app", "base", tree{"file": ""})
	dir, _ = at(t, prepare(t, s, "container", "app"))
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if info.Mode() != os.ModeDir|os.ModeSticky|0o711 || stat.Uid != 7 || stat.Gid != 8 {
		t.Errorf("in a container: %v %d:%d, want dtrwx--x--x 7:8", info.Mode(), stat.Uid, stat.Gid)
	}
}

func TestTheRootIsClosedToOthers(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"su": "setuid"})
	for _, dir := range []string{root, root + "/sn", root + "/sn/1", root + "/trash"} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want 0700", dir, info.Mode(), err)
		}
	}
}

func TestALayerThatIsHereIsNotUnpackedAgain(t *testing.T) {
	s, _ := openNew(t)
	layer(t, s, "default/1/sha256:a", "", nil, ref("sha256:a"))
	layer(t, s, "default/2/sha256:b", "default/1/sha256:a", nil, ref("sha256:b"))

	if _, err := s.Prepare(t.Context(), "k8s.io/1/extract-1", "", ref("sha256:a")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the first layer, from another namespace: %v, want ErrAlreadyExists", err)
	}
	if _, err := s.Prepare(t.Context(), "k8s.io/2/extract-2", "default/1/sha256:a", ref("sha256:b")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the second layer: %v, want ErrAlreadyExists", err)
	}
	// What containerd does next.
	got := names(t, s, `labels."containerd.io/snapshot.ref"==sha256:b,parent=="default/1/sha256:a"`)
	if !slices.Equal(got, []string{"default/2/sha256:b"}) {
		t.Errorf("found %q", got)
	}

	t.Run("unless it stands on another parent", func(t *testing.T) {
		layer(t, s, "other", "", nil)
		prepare(t, s, "k8s.io/3/extract-3", "other", ref("sha256:b"))
	})
	t.Run("or is still being unpacked", func(t *testing.T) {
		prepare(t, s, "default/4/extract-4", "", ref("sha256:c"))
		prepare(t, s, "k8s.io/4/extract-4", "", ref("sha256:c"))
	})
	t.Run("or was removed", func(t *testing.T) {
		if err := s.Remove(t.Context(), "default/2/sha256:b"); err != nil {
			t.Fatal(err)
		}
		prepare(t, s, "k8s.io/5/extract-5", "default/1/sha256:a", ref("sha256:b"))
	})
}

func TestErrorsHaveTheirClass(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", nil)
	prepare(t, s, "active", "base")
	if _, err := s.View(t.Context(), "view", "base"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("k", 40_000)
	none := func(_ any, err error) error { return err }
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		err  error
		is   func(error) bool
	}{
		{"stat of what is not there", none(s.Stat(ctx, "none")), errdefs.IsNotFound},
		{"mounts of what is not there", none(s.Mounts(ctx, "none")), errdefs.IsNotFound},
		{"usage of what is not there", none(s.Usage(ctx, "none")), errdefs.IsNotFound},
		{"update of what is not there", none(s.Update(ctx, snapshots.Info{Name: "none"})), errdefs.IsNotFound},
		{"pin of what is not there", none(s.Pin(ctx, "none")), errdefs.IsNotFound},
		{"remove of what is not there", s.Remove(ctx, "none"), errdefs.IsNotFound},
		{"commit of what is not there", s.Commit(ctx, "new", "none"), errdefs.IsNotFound},
		{"prepare on what is not there", none(s.Prepare(ctx, "new", "none")), errdefs.IsNotFound},
		{"prepare of a key that is taken", none(s.Prepare(ctx, "active", "base")), errdefs.IsAlreadyExists},
		{"commit to a name that is taken", s.Commit(ctx, "base", "active"), errdefs.IsAlreadyExists},
		{"prepare on what is active", none(s.Prepare(ctx, "new", "active")), errdefs.IsInvalidArgument},
		{"commit of a view", s.Commit(ctx, "new", "view"), errdefs.IsFailedPrecondition},
		{"commit of what is committed", s.Commit(ctx, "new", "base"), errdefs.IsFailedPrecondition},
		{"mounts of what is committed", none(s.Mounts(ctx, "base")), errdefs.IsFailedPrecondition},
		{"remove of a parent", s.Remove(ctx, "base"), errdefs.IsFailedPrecondition},
		{"prepare of an empty key", none(s.Prepare(ctx, "", "base")), errdefs.IsInvalidArgument},
		{"prepare of a key too long", none(s.Prepare(ctx, long, "base")), errdefs.IsInvalidArgument},
		{"commit to a name too long", s.Commit(ctx, long, "active"), errdefs.IsInvalidArgument},
		{"stat of a key too long", none(s.Stat(ctx, long)), errdefs.IsInvalidArgument},
		{"remove of a key too long", s.Remove(ctx, long), errdefs.IsInvalidArgument},
		{"update of a kind", none(s.Update(ctx, snapshots.Info{Name: "active"}, "kind")), errdefs.IsInvalidArgument},
		{"a filter that is none", s.Walk(ctx, func(context.Context, snapshots.Info) error { return nil }, "=="), errdefs.IsInvalidArgument},
	} {
		if !tt.is(tt.err) {
			t.Errorf("%s: %.200v", tt.name, tt.err)
		}
	}
	if got := folders(t, root); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("folders %q: something was left behind", got)
	}
	prepare(t, s, long[:maxKey], "base")
	if _, err := s.Stat(ctx, long[:maxKey]); err != nil {
		t.Errorf("the longest key: %v", err)
	}
}

const maxKey = 32768 // bbolt's

func TestACallThatIsOutOfTimeChangesNothing(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", nil)
	prepare(t, s, "active", "base")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, prepareErr := s.Prepare(ctx, "new", "base")
	_, updateErr := s.Update(ctx, snapshots.Info{Name: "active", Labels: map[string]string{"a": "b"}})
	for call, err := range map[string]error{
		"Prepare": prepareErr, "Update": updateErr,
		"Commit": s.Commit(ctx, "name", "active"), "Remove": s.Remove(ctx, "active"), "Cleanup": s.Cleanup(ctx),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if got := names(t, s); !slices.Equal(got, []string{"active", "base"}) {
		t.Errorf("snapshots %q", got)
	}
	if got := folders(t, root); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("folders %q", got)
	}
}
