package capture_test

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/internal/treetest"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// Few names, so that operations meet.
var (
	someName = rapid.SampledFrom([]string{"a", "b", "c", "d", "é", "\xff", "n\n"})
	somePath = rapid.Custom(func(t *rapid.T) string {
		return path.Join(rapid.SliceOfN(someName, 1, 3).Draw(t, "path")...)
	})
	someTime = rapid.SampledFrom([]time.Time{time.Unix(0, 0), time.Unix(499162500, 0), time.Unix(1700000000, 999999999)})
)

// operations are what a container may do. Those that fail, because there is
// nothing to do them to, do nothing.
var operations = []struct {
	name string
	do   func(t *rapid.T, root, path string)
}{
	{"write", func(t *rapid.T, _, p string) {
		if info, err := os.Lstat(p); err == nil && !info.Mode().IsRegular() {
			return
		}
		_ = os.WriteFile(p, []byte(rapid.SampledFrom([]string{"", "1", "22", "333"}).Draw(t, "content")), 0o644)
	}},
	{"append", func(t *rapid.T, _, p string) {
		if f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			_, _ = f.WriteString("+")
			f.Close()
		}
	}},
	{"open", func(t *rapid.T, _, p string) {
		if f, err := os.OpenFile(p, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}},
	{"mkdir", func(t *rapid.T, _, p string) { _ = os.MkdirAll(p, 0o755) }},
	{"remove", func(t *rapid.T, _, p string) { _ = os.Remove(p) }},
	{"remove all", func(t *rapid.T, _, p string) { _ = os.RemoveAll(p) }},
	{"replace by a folder", func(t *rapid.T, _, p string) {
		if os.RemoveAll(p) == nil {
			_ = os.Mkdir(p, 0o755)
		}
	}},
	{"rename", func(t *rapid.T, root, p string) {
		if to := somePath.Draw(t, "to"); folders(root, path.Dir(to)) {
			_ = os.Rename(p, path.Join(root, to))
		}
	}},
	{"link", func(t *rapid.T, root, p string) {
		if to := somePath.Draw(t, "to"); folders(root, path.Dir(to)) {
			_ = os.Link(p, path.Join(root, to))
		}
	}},
	{"symlink", func(t *rapid.T, _, p string) {
		_ = os.Symlink(rapid.SampledFrom([]string{"a", "../b", "/c", "."}).Draw(t, "target"), p)
	}},
	{"mkfifo", func(t *rapid.T, _, p string) { _ = unix.Mkfifo(p, 0o600) }},
	{"mknod", func(t *rapid.T, _, p string) { _ = unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) }},
	{"chmod", func(t *rapid.T, _, p string) {
		if info, err := os.Lstat(p); err == nil && info.Mode()&os.ModeSymlink == 0 {
			_ = unix.Chmod(p, rapid.SampledFrom([]uint32{0o644, 0o755, 0o6755, 0o1777}).Draw(t, "mode"))
		}
	}},
	{"chown", func(t *rapid.T, _, p string) { _ = os.Lchown(p, rapid.IntRange(0, 1).Draw(t, "uid"), 0) }},
	{"setxattr", func(t *rapid.T, _, p string) {
		_ = unix.Lsetxattr(p, rapid.SampledFrom([]string{"user.x", "user.y"}).Draw(t, "name"), []byte(rapid.SampledFrom([]string{"", "1"}).Draw(t, "value")), 0)
	}},
	{"removexattr", func(t *rapid.T, _, p string) { _ = unix.Lremovexattr(p, "user.x") }},
	{"utimes", func(t *rapid.T, _, p string) {
		ts := unix.NsecToTimespec(someTime.Draw(t, "time").UnixNano())
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}},
}

// operate does some of them.
func operate(t *rapid.T, root string, most int) {
	for range rapid.IntRange(0, most).Draw(t, "operations") {
		op := rapid.SampledFrom(operations).Draw(t, "operation")
		p := somePath.Draw(t, "path")
		if folders(root, path.Dir(p)) {
			op.do(t, root, path.Join(root, p))
		}
	}
}

// folders says whether all that there is of a path is folders: no link may lead
// out of the overlay, and to open a fifo may take for ever.
func folders(root, rel string) bool {
	at := root
	for part := range strings.SplitSeq(rel, "/") {
		at = path.Join(at, part)
		if info, err := os.Lstat(at); err == nil && !info.IsDir() {
			return false
		}
	}
	return true
}

// randomStack is layers made by random operations, and a container's on them.
func randomStack(rt *rapid.T, t *testing.T) *stack {
	s := &stack{dir: tempDir(rt)}
	s.push(t)
	for range rapid.IntRange(1, 3).Draw(rt, "layers") {
		root, unmount := s.mount(t)
		operate(rt, root, 25)
		unmount()
		s.push(t)
	}
	root, unmount := s.mount(t)
	operate(rt, root, 25)
	unmount()
	return s
}

func tempDir(rt *rapid.T) string {
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		rt.Fatal(err)
	}
	rt.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Whatever was done to an overlay, the layer gives the same view.
func TestRandomOverlays(t *testing.T) {
	needs.Root(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := randomStack(rt, t)
		layer, result := s.write(t, capture.Options{})
		s.check(rt2{t, rt}, layer)
		if again, _ := s.write(t, capture.Options{}); !bytes.Equal(again, layer) {
			rt.Fatal("a second layer has other bytes")
		}
		list := s.list(t, capture.Options{})
		if n := result.Added + result.Changed + result.Deleted; int(n) != len(list) {
			rt.Fatalf("%d changes counted, listed %q", n, list)
		}
		s.checkList(rt2{t, rt}, list)
	})
}

// checkList proves that each change is what the two views say.
func (s *stack) checkList(t testing.TB, list []string) {
	t.Helper()
	view, unmountView := s.mount(t)
	defer unmountView()
	below, unmountBelow := s.below(t)
	defer unmountBelow()
	before, after := treetest.Read(t, below), treetest.Read(t, view)
	added := map[string]bool{}
	for _, change := range list {
		kind, path := change[:1], change[len("A /"):]
		_, was := before[path]
		_, is := after[path]
		if want := map[[2]bool]string{{false, true}: "A", {true, true}: "C", {true, false}: "D"}[[2]bool{was, is}]; kind != want {
			t.Errorf("%q is listed, want %q", change, want)
		}
		added[path] = kind == "A"
	}
	for path := range after {
		if _, was := before[path]; !was && !added[path] {
			t.Errorf("%q is new and not listed", path)
		}
	}
}

// containerd's own way to a layer, which compares the two views file by file,
// gives the same result, less what it leaves out.
func TestSameResultAsContainerd(t *testing.T) {
	needs.Root(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := randomStack(rt, t)
		layer, _ := s.write(t, capture.Options{})
		view, unmountView := s.mount(t)
		defer unmountView()
		below, unmountBelow := s.below(t)
		defer unmountBelow()
		var theirs bytes.Buffer
		// "/.", since what it is given must not be a link itself.
		if err := archive.WriteDiff(t.Context(), &theirs, below+"/.", view+"/."); err != nil {
			rt.Fatal(err)
		}
		want := reduced(treetest.Read(t, s.applied(t, theirs.Bytes())))
		if diff := cmp.Diff(want, reduced(treetest.Read(t, s.applied(t, layer)))); diff != "" {
			rt.Fatalf("(-containerd +lamina):\n%s\ncontainerd: %q\nlamina: %q", diff, entries(t, theirs.Bytes()), entries(t, layer))
		}
	})
}

// reduced is a tree without what containerd's layers do not have: fractions of
// seconds, most extended attributes, and changes to nothing but a folder's time.
func reduced(files map[string]treetest.File) map[string]treetest.File {
	for name, f := range files {
		f.Mtime, _, _ = strings.Cut(f.Mtime, ".")
		f.Xattrs = nil
		if strings.HasPrefix(f.Mode, "04") { // a folder
			f.Mtime = ""
		}
		files[name] = f
	}
	return files
}

// rt2 lets helpers that want a testing.TB fail a rapid test.
type rt2 struct {
	testing.TB
	rt *rapid.T
}

func (t rt2) Helper()                        { t.rt.Helper() }
func (t rt2) Error(args ...any)              { t.rt.Error(args...) }
func (t rt2) Errorf(format string, a ...any) { t.rt.Errorf(format, a...) }
func (t rt2) Fatal(args ...any)              { t.rt.Fatal(args...) }
func (t rt2) Fatalf(format string, a ...any) { t.rt.Fatalf(format, a...) }
func (t rt2) Log(args ...any)                { t.rt.Log(fmt.Sprint(args...)) }
