package overlay_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/lockfile"
	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

func tryOpen(root string) error {
	s, err := overlay.Open(overlay.Config{Root: root, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return s.Close()
}

func TestTwoProcessesNeverShareARoot(t *testing.T) {
	s, root := openNew(t)
	err := tryOpen(root)
	if !errors.Is(err, lockfile.ErrHeld) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v, want ErrHeld and the holder's process ID", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tryOpen(root); err != nil {
		t.Errorf("Open after Close: %v", err)
	}
}

func TestARootThatIsSomethingElseIsRefused(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	tree{"home/me/letter": "dear"}.write(t, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, dir + "/a:b", dir + "/a,b", dir + `/a\b`} {
		if err := tryOpen(root); err == nil || !strings.Contains(err.Error(), "choose") {
			t.Errorf("%s: %v, want an error that says what to do", root, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder was changed: %v, %v", info.Mode(), err)
	}
}

// On a filesystem that overlayfs cannot write to, start-up says so.
func TestARootWhereOverlaysDoNotWork(t *testing.T) {
	needs.Root(t)
	for _, tt := range []struct {
		name  string
		mount func(dir string) error
	}{
		{"ramfs", func(dir string) error { return unix.Mount("none", dir, "ramfs", 0, "") }}, // no xattrs
		{"overlayfs", func(dir string) error {
			work := t.TempDir()
			for _, sub := range []string{"upper", "work", "lower"} {
				if err := os.Mkdir(filepath.Join(work, sub), 0o755); err != nil {
					return err
				}
			}
			return unix.Mount("overlay", dir, "overlay", 0, fmt.Sprintf("upperdir=%s/upper,workdir=%s/work,lowerdir=%s/lower", work, work, work))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := tt.mount(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			root := filepath.Join(dir, "root")
			err := tryOpen(root)
			if err == nil || !strings.Contains(err.Error(), root) || !strings.Contains(err.Error(), tt.name) || !strings.Contains(err.Error(), "put the root on") {
				t.Errorf("got %v, want an error that names root and filesystem, and the remedy", err)
			}
			if left := list(t, root); len(left) > 3 { // lock, sn, trash
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// The probe's mounts are in a namespace of their own.
func TestTheProbeLeavesNoMounts(t *testing.T) {
	_, root := openNew(t)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(root)) {
		t.Errorf("mounted:\n%s", mounts)
	}
}

func TestDamagedMetadata(t *testing.T) {
	s, root := openNew(t)
	for i := range 50 {
		layer(t, s, fmt.Sprint("layer", i), "", nil, ref(fmt.Sprint("sha256:", i)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "metadata.db")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Every page that has this name on it: some are free, one is in use.
	const pageSize = 4096
	pages := func(with []byte) []byte {
		bad := bytes.Clone(good)
		for at := 0; at < len(good); at += pageSize {
			if bytes.Contains(good[at:at+pageSize], []byte("layer49")) {
				copy(bad[at+16:], with) // past the page's own header
			}
		}
		return bad
	}
	for _, tt := range []struct {
		name string
		bad  []byte
	}{
		{"empty", nil},
		{"not a database", []byte("this is not a database\n")},
		{"zeros", make([]byte, len(good))},
		{"half of it", good[:len(good)/2]},
		{"two pages of it", good[:2*pageSize]},
		{"pages of zeros", pages(make([]byte, pageSize-16))},
		{"pages of noise", pages(noise(pageSize - 16))},
		{"wild offsets", pages(bytes.Repeat([]byte{0xff}, 64))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(file, tt.bad, 0o600); err != nil {
				t.Fatal(err)
			}
			err := tryOpen(root)
			if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "start over") {
				t.Errorf("got %v, want an error that names the file and the remedy", err)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, tt.bad) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := folders(t, root); len(got) != 50 {
		t.Errorf("folders %q: layers were deleted", got)
	}
	if got := names(t, open(t, root)); len(got) != 50 {
		t.Errorf("with the good copy back: %q", got)
	}
}

func overwrite(data []byte, at int, with []byte) []byte {
	data = bytes.Clone(data)
	copy(data[at:], with)
	return data
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Whatever is in the file, the answer is an error or a snapshotter that works;
// never a crash.
func FuzzMetadata(f *testing.F) {
	needs.Root(f)
	s, root := openNew(f)
	for i := range 5 {
		layer(f, s, fmt.Sprint("layer", i), "", nil, ref(fmt.Sprint("sha256:", i)))
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(root, "metadata.db")
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		f.Add(r.Uint32N(uint32(len(good))), []byte{byte(r.Uint32())})
	}
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		if err := os.WriteFile(file, overwrite(good, int(at)%len(good), with), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := overlay.Open(overlay.Config{Root: root, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return
		}
		defer s.Close()
		names(t, s)
	})
}
