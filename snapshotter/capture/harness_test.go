package capture_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/internal/treetest"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// A stack is layers on disk, the nearest first, and an upper on them.
type stack struct {
	dir    string
	lowers []string
	upper  string
	work   string
	n      int
}

func newStack(t testing.TB) *stack {
	t.Helper()
	needs.Root(t)
	s := &stack{dir: t.TempDir()}
	s.push(t)
	return s
}

// push makes the upper the nearest lower, and a new upper.
func (s *stack) push(t testing.TB) {
	t.Helper()
	if s.upper != "" {
		s.lowers = append([]string{s.upper}, s.lowers...)
	}
	s.n++
	s.upper = filepath.Join(s.dir, fmt.Sprint(s.n))
	s.work = s.upper + ".work"
	for _, dir := range []string{s.upper, s.work} {
		must(t, os.Mkdir(dir, 0o755))
	}
	if len(s.lowers) == 0 { // an overlay wants one
		s.lowers = []string{filepath.Join(s.dir, "0")}
		must(t, os.Mkdir(s.lowers[0], 0o755))
	}
}

// mount mounts the overlay as Lamina's snapshotter does, and returns a path to
// it. It is attached nowhere, and so is gone when the test ends in any way.
func (s *stack) mount(t testing.TB) (path string, unmount func()) {
	t.Helper()
	return overlayAt(t, s.lowers, s.upper, s.work)
}

// below shows the lowers alone.
func (s *stack) below(t testing.TB) (path string, unmount func()) {
	t.Helper()
	empty := filepath.Join(s.dir, "empty")
	must(t, os.MkdirAll(empty, 0o755))
	return overlayAt(t, append(append([]string{}, s.lowers...), empty), "", "")
}

func overlayAt(t testing.TB, lowers []string, upper, work string) (path string, unmount func()) {
	t.Helper()
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	options := [][2]string{{"index", "off"}, {"metacopy", "off"}, {"redirect_dir", "nofollow"}}
	for _, l := range lowers {
		options = append(options, [2]string{"lowerdir+", l})
	}
	if upper != "" {
		options = append(options, [2]string{"upperdir", upper}, [2]string{"workdir", work})
	}
	for _, o := range options {
		if err := unix.FsconfigSetString(fd, o[0], o[1]); err != nil {
			t.Fatalf("fsconfig %v: %v", o, err)
		}
	}
	must(t, unix.FsconfigCreate(fd))
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	must(t, err)
	closed := false
	unmount = func() {
		if !closed {
			closed = true
			unix.Close(mnt)
		}
	}
	t.Cleanup(unmount)
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), mnt), unmount
}

// write makes the layer.
func (s *stack) write(t testing.TB, o capture.Options) ([]byte, capture.Result) {
	t.Helper()
	o.Upper, o.Lowers = s.upper, s.lowers
	var b bytes.Buffer
	result, err := capture.Write(t.Context(), &b, o)
	must(t, err)
	if result.Size != int64(b.Len()) {
		t.Errorf("size %d, wrote %d bytes", result.Size, b.Len())
	}
	return b.Bytes(), result
}

// list lists the changes, as "A /path".
func (s *stack) list(t testing.TB, o capture.Options) []string {
	t.Helper()
	o.Upper, o.Lowers = s.upper, s.lowers
	var changes []string
	o.OnChange = func(c capture.Change) error {
		changes = append(changes, fmt.Sprint(c.Kind, " ", c.Path))
		return nil
	}
	_, err := capture.List(t.Context(), o)
	must(t, err)
	return changes
}

// entries lists what is in a tar.
func entries(t testing.TB, layer []byte) []string {
	t.Helper()
	var names []string
	for _, h := range headers(t, layer) {
		names = append(names, h.Name)
	}
	return names
}

func headers(t testing.TB, layer []byte) []*tar.Header {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(layer))
	var all []*tar.Header
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, h)
	}
}

// applied unpacks a layer onto a copy of the lowers, as a program would that
// knows nothing of overlays.
func (s *stack) applied(t testing.TB, layer []byte) string {
	t.Helper()
	below, unmount := s.below(t)
	defer unmount()
	dir, err := os.MkdirTemp(s.dir, "applied")
	must(t, err)
	run(t, "cp", "-a", below+"/.", dir)
	_, err = archive.Apply(context.Background(), dir, bytes.NewReader(layer))
	must(t, err)
	return dir
}

// stacked unpacks a layer into a folder of its own, which becomes the upper of
// an overlay, as containerd does.
func (s *stack) stacked(t testing.TB, layer []byte) (path string, unmount func()) {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "stacked")
	must(t, err)
	for _, d := range []string{"fs", "work"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	_, err = archive.Apply(context.Background(), dir+"/fs", bytes.NewReader(layer),
		archive.WithParents(s.lowers), archive.WithConvertWhiteout(archive.OverlayConvertWhiteout))
	must(t, err)
	return overlayAt(t, s.lowers, dir+"/fs", dir+"/work")
}

// check proves that the layer, wherever it is unpacked, gives what the overlay
// shows.
func (s *stack) check(t testing.TB, layer []byte) {
	t.Helper()
	view, unmount := s.mount(t)
	defer unmount()
	want := treetest.Read(t, view)
	if diff := cmp.Diff(want, treetest.Read(t, s.applied(t, layer))); diff != "" {
		t.Errorf("unpacked onto a copy (-overlay +unpacked):\n%s\nlayer: %q", diff, entries(t, layer))
	}
	stacked, unmountStacked := s.stacked(t, layer)
	defer unmountStacked()
	if diff := cmp.Diff(want, treetest.Read(t, stacked)); diff != "" {
		t.Errorf("unpacked as an upper (-overlay +unpacked):\n%s\nlayer: %q", diff, entries(t, layer))
	}
}

// files writes files, folders (names that end in a slash) and symbolic links
// (contents that begin with "->"), in the order of their names.
func files(t testing.TB, root string, content map[string]string) {
	t.Helper()
	var names []string
	for name := range content {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		target, link := strings.CutPrefix(content[name], "->")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		case link:
			must(t, os.Symlink(target, path))
		default:
			must(t, os.WriteFile(path, []byte(content[name]), 0o644))
		}
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t testing.TB, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t)
}

// long is long ago.
var long = time.Unix(1_000_000_000, 0)
