package capture_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// What a layer cannot hold is left out and named; what the image had there does
// not come back.
func TestWhatALayerCannotHold(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, image)
	s.push(t)
	listen(t, s.upper+"/sock")
	must(t, os.Mkdir(s.upper+"/etc", 0o755))
	listen(t, s.upper+"/etc/passwd")
	files(t, s.upper, map[string]string{".wh.bin": "not a whiteout", ".wh..wh..opq": "nor this", "ok": "ok", "d/.wh.x/y": "y"})
	layer, result := s.write(t, capture.Options{})
	want := []string{"d/", "etc/", "etc/.wh.passwd", "ok"}
	if diff := cmp.Diff(want, entries(t, layer)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	var skipped []string
	for _, n := range result.Skipped {
		skipped = append(skipped, n.Path)
		if n.Text == "" || strings.HasPrefix(n.Path, "//") {
			t.Errorf("skipped %q", n)
		}
	}
	if diff := cmp.Diff([]string{"/.wh..wh..opq", "/.wh.bin", "/d/.wh.x", "/etc/passwd", "/sock"}, skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if result.SkippedCount != 5 {
		t.Errorf("%d skipped", result.SkippedCount)
	}
}

func listen(t *testing.T, path string) {
	t.Helper()
	// A short way to it: a socket's path has 108 bytes.
	t.Chdir(filepath.Dir(path))
	l, err := net.Listen("unix", filepath.Base(path))
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestPathsLongerThanAnyCall(t *testing.T) {
	s := newStack(t)
	const levels = 60
	name := strings.Repeat("n", 100)
	fd, err := unix.Open(s.upper, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range levels { // 6,060 bytes
		must(t, unix.Mkdirat(fd, name, 0o755))
		sub, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = sub
	}
	f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	_, err = unix.Write(f, []byte("deep"))
	must(t, err)
	unix.Close(f)
	unix.Close(fd)

	layer, result := s.write(t, capture.Options{})
	all := headers(t, layer)
	if len(all) != levels+1 || all[levels].Name != strings.Repeat(name+"/", levels)+"file" || all[levels].Size != 4 {
		t.Errorf("%d entries, the last is %.20q… of %d bytes", len(all), all[len(all)-1].Name, all[len(all)-1].Size)
	}
	if result.SkippedCount != 0 {
		t.Errorf("skipped %v", result.Skipped)
	}
	layer, result = s.write(t, capture.Options{MaxPath: 1009})
	if n := len(entries(t, layer)); n != 10 || result.SkippedCount != 1 || !strings.Contains(result.Skipped[0].Text, "1009") {
		t.Errorf("with a limit: %d entries, skipped %d: %v", n, result.SkippedCount, result.Skipped)
	}
}

// A container nests folders to use up the descriptors of whoever reads them.
func TestFoldersNestedTooDeep(t *testing.T) {
	s := newStack(t)
	must(t, os.Mkdir(s.upper+"/d", 0o755))
	fd, err := unix.Open(s.upper+"/d", unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 9 << 10 {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		sub, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = sub
	}
	unix.Close(fd)
	// RemoveAll would need as many descriptors as levels.
	t.Cleanup(func() { run(t, "rm", "-rf", s.upper+"/d") })
	_, err = capture.Write(t.Context(), io.Discard, capture.Options{Upper: s.upper})
	if !errors.Is(err, capture.ErrLimit) || len(err.Error()) > 1000 {
		t.Errorf("got %.200v, want ErrLimit in a few words", err)
	}
	if _, err := os.ReadDir(s.upper); err != nil {
		t.Errorf("descriptors are lost: %v", err)
	}
	// What nobody could unpack is not read either.
	if _, result := s.write(t, capture.Options{MaxPath: 4000}); result.SkippedCount != 1 {
		t.Errorf("skipped %v", result.Skipped)
	}
}

func TestUppersOfForeignOverlays(t *testing.T) {
	for _, tt := range []struct {
		attr, path string
		user, bad  bool
	}{
		{"trusted.overlay.redirect", "/etc", false, true},
		{"trusted.overlay.metacopy", "/etc/passwd", false, true},
		{"user.overlay.redirect", "/etc", true, true},
		{"user.overlay.metacopy", "/etc/passwd", true, true},
		// A container may set user.* as it likes; it means nothing to its overlay.
		{"user.overlay.redirect", "/etc", false, false},
		{"user.overlay.opaque", "/etc", false, false},
	} {
		s := newStack(t)
		files(t, s.upper, image)
		s.push(t)
		files(t, s.upper, map[string]string{"etc/passwd": "other"})
		must(t, unix.Setxattr(s.upper+tt.path, tt.attr, []byte("y"), 0))
		var b bytes.Buffer
		_, err := capture.Write(t.Context(), &b, capture.Options{Upper: s.upper, Lowers: s.lowers, UserXattr: tt.user})
		switch {
		case tt.bad && (!errors.Is(err, capture.ErrForeign) || !strings.Contains(err.Error(), tt.path) || !strings.Contains(err.Error(), tt.attr)):
			t.Errorf("%s: %v", tt.attr, err)
		case !tt.bad:
			must(t, err)
			for _, h := range headers(t, b.Bytes()) {
				if len(h.PAXRecords) > 1 || strings.Contains(h.Name, ".wh.") { // mtime is one
					t.Errorf("%s: entry %q has %q", tt.attr, h.Name, h.PAXRecords)
				}
			}
		}
	}
}

// The marks of an overlay with the option userxattr are others.
func TestMarksInTheUserNamespace(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, image)
	s.push(t)
	files(t, s.upper, map[string]string{"etc/app/new": "new", "bin/sh": ""})
	must(t, unix.Setxattr(s.upper+"/etc/app", "user.overlay.opaque", []byte("y"), 0))
	must(t, unix.Setxattr(s.upper+"/etc", "user.overlay.origin", []byte("\x00"), 0))
	must(t, unix.Setxattr(s.upper+"/bin/sh", "user.overlay.whiteout", nil, 0))
	layer, _ := s.write(t, capture.Options{UserXattr: true})
	want := []string{"bin/", "bin/.wh.sh", "etc/", "etc/app/", "etc/app/.wh..wh..opq", "etc/app/new"}
	if diff := cmp.Diff(want, entries(t, layer)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// Whiteouts in the form of xattrs, in a lower and in the upper; the kernel says
// what the lower shows.
func TestWhiteoutsByXattr(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, image)
	s.push(t)
	files(t, s.upper, map[string]string{"etc/passwd": "", "srv/a/sibling": ""})
	for _, dir := range []string{"", "/etc", "/srv", "/srv/a"} {
		must(t, unix.Setxattr(s.upper+dir, "trusted.overlay.opaque", []byte("x"), 0))
	}
	must(t, unix.Setxattr(s.upper+"/etc/passwd", "trusted.overlay.whiteout", []byte("y"), 0))
	must(t, unix.Setxattr(s.upper+"/srv/a/sibling", "trusted.overlay.whiteout", []byte("y"), 0))
	s.push(t)
	below, unmount := s.below(t)
	if _, err := os.Lstat(below + "/etc/passwd"); !errors.Is(err, os.ErrNotExist) {
		needs.That(t, false, "needs a kernel that knows xattr whiteouts (6.7)")
	}
	unmount()
	root, unmount := s.mount(t)
	files(t, root, map[string]string{"etc/passwd": "again", "srv/a/b/other": "x"})
	unmount()
	files(t, s.upper, map[string]string{"bin/sh": ""})
	must(t, unix.Setxattr(s.upper+"/bin/sh", "trusted.overlay.whiteout", []byte("y"), 0))
	want := []string{"C /bin", "D /bin/sh", "C /etc", "A /etc/passwd", "C /srv", "C /srv/a", "C /srv/a/b", "A /srv/a/b/other"}
	if diff := cmp.Diff(want, s.list(t, capture.Options{})); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestAWhiteoutOfNothingIsDropped(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, image)
	s.push(t)
	must(t, unix.Mknod(s.upper+"/nothing", unix.S_IFCHR, 0))
	if layer, result := s.write(t, capture.Options{}); result.Entries != 0 {
		t.Errorf("entries %q", entries(t, layer))
	}
}

func TestTheTopFolder(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, image)
	s.push(t)
	must(t, os.Chtimes(s.upper, time.Now(), time.Unix(1, 0)))
	if layer, _ := s.write(t, capture.Options{}); len(entries(t, layer)) != 0 {
		t.Errorf("only its time has changed: %q", entries(t, layer))
	}
	must(t, os.Chmod(s.upper, 0o711))
	layer, _ := s.write(t, capture.Options{})
	h := headers(t, layer)
	if len(h) != 1 || h[0].Name != "./" || h[0].Typeflag != tar.TypeDir || h[0].Mode != 0o711 {
		t.Errorf("its mode has changed: %+v", h)
	}
	s.check(t, layer)
}

func TestTimesAreExact(t *testing.T) {
	s := newStack(t)
	for name, at := range map[string]time.Time{"a": time.Unix(-1000, 1), "b": time.Unix(1<<33, 999999999)} {
		files(t, s.upper, map[string]string{name: ""})
		must(t, os.Chtimes(s.upper+"/"+name, at, at))
		layer, _ := s.write(t, capture.Options{Exclude: []string{"*", "!" + name}})
		if h := headers(t, layer); len(h) != 1 || !h[0].ModTime.Equal(at) {
			t.Errorf("%v became %v", at, h[0].ModTime)
		}
	}
}

func TestOwnOverlayAttributesAreLeftOut(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, map[string]string{"f": "f"})
	for name, kept := range map[string]bool{
		"trusted.overlay.origin": false, "trusted.overlay.opaque": false, "user.overlay.impure": false,
		"trusted.overlay.overlay.opaque": false, "trusted.other": true, "user.overlayed": true,
	} {
		must(t, unix.Setxattr(s.upper+"/f", name, []byte("v"), 0))
		layer, _ := s.write(t, capture.Options{})
		if _, ok := headers(t, layer)[0].PAXRecords["SCHILY.xattr."+name]; ok != kept {
			t.Errorf("%s is in the layer: %v", name, ok)
		}
		must(t, unix.Removexattr(s.upper+"/f", name))
	}
	must(t, unix.Setxattr(s.upper+"/f", "user.a=b", []byte("v"), 0))
	layer, result := s.write(t, capture.Options{})
	if len(headers(t, layer)) != 1 || result.AlteredCount != 1 || !strings.Contains(result.Altered[0].Text, "user.a=b") {
		t.Errorf("a name that a tar cannot hold: %+v", result)
	}
}

// errDisk is what a sink fails with.
var errDisk = errors.New("disk full")

type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func TestErrorsComeThrough(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, map[string]string{"a/b": strings.Repeat("x", 10_000)})
	for _, after := range []int{0, 600, 1500, 3000, 11_500} {
		if _, err := capture.Write(t.Context(), &failing{after}, capture.Options{Upper: s.upper}); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: %v", after, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := capture.Write(ctx, io.Discard, capture.Options{Upper: s.upper}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := capture.Write(t.Context(), io.Discard, capture.Options{Upper: s.upper + "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no upper: %v", err)
	}
	stop := errors.New("stop")
	if _, err := capture.List(t.Context(), capture.Options{Upper: s.upper, OnChange: func(capture.Change) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("OnChange: %v", err)
	}
}

// What one layer has and another hides was not there for the container.
func TestWhatTheLayersHide(t *testing.T) {
	s := newStack(t)
	files(t, s.upper, map[string]string{"opaque/x": "1", "file/x": "1", "gone/x": "1"})
	s.push(t)
	root, unmount := s.mount(t)
	for _, name := range []string{"/opaque", "/file", "/gone"} {
		must(t, os.RemoveAll(root+name))
	}
	files(t, root, map[string]string{"opaque/": "", "file": "a file", "other": "a file"})
	unmount()
	s.push(t)
	root, unmount = s.mount(t)
	for _, name := range []string{"/file", "/other"} {
		must(t, os.Remove(root+name))
		must(t, os.Mkdir(root+name, 0o755))
	}
	unmount()
	for _, name := range []string{"/file", "/other"} { // as containerd would unpack it
		must(t, unix.Removexattr(s.upper+name, "trusted.overlay.opaque"))
	}
	s.push(t)
	root, unmount = s.mount(t)
	files(t, root, map[string]string{"opaque/x": "2", "file/x": "2", "gone/x": "2"})
	must(t, os.Lchown(root+"/other", 0, 0)) // copied up, and no change
	unmount()
	want := []string{"C /file", "A /file/x", "A /gone", "A /gone/x", "C /opaque", "A /opaque/x"}
	if diff := cmp.Diff(want, s.list(t, capture.Options{})); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	s.checkList(t, want)
}
