package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/internal/forgetfs"
	"github.com/laminastore/lamina/internal/needs"
)

func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	needs.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDisk(t *testing.T) {
	dir := mountTmpfs(t, "size=2m")
	b := openTest(t, dir)
	big := bytes.NewReader(make([]byte, 4<<20))
	empty := func() {
		t.Helper()
		if have := keys(t, b); have != nil {
			t.Errorf("visible: %q", have)
		}
		if left, err := os.ReadDir(filepath.Join(dir, tempDir)); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	if _, err := b.Put(t.Context(), "a", big, big.Size(), bucket.Condition{}); !errors.Is(err, bucket.ErrFull) || errors.Is(err, bucket.ErrUnavailable) {
		t.Fatalf("put: %v", err)
	}
	empty()
	id, err := b.CreateMultipart(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 1} { // in the main file, then in one of its own
		if _, err := b.PutPart(t.Context(), "a", id, n, big, big.Size()); !errors.Is(err, bucket.ErrFull) {
			t.Fatalf("put part %d: %v", n, err)
		}
	}
	empty()
	// What failed has given its room back.
	part, err := b.PutPart(t.Context(), "a", id, 1, bytes.NewReader(make([]byte, 1<<20)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CompleteMultipart(t.Context(), "a", id, []bucket.Part{part}, bucket.Condition{}); err != nil && !errors.Is(err, bucket.ErrFull) {
		t.Fatal(err)
	}
	if err := b.AbortMultipart(t.Context(), "a", id); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "a", bytes.NewReader(make([]byte, 1<<20)), 1<<20, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// A spool that finds the disk full gives its room back when it is closed, and
// what of it are parts stays.
func TestASpoolOnAFullDisk(t *testing.T) {
	b := openTest(t, mountTmpfs(t, "size=2m"))
	const size = 128 << 10
	fill := func(s bucket.Spool) {
		t.Helper()
		var err error
		for i := 0; err == nil && i < 100; i++ {
			_, err = s.Write(make([]byte, size))
		}
		if !errors.Is(err, bucket.ErrFull) {
			t.Fatal(err)
		}
	}
	open := func() bucket.Spool {
		t.Helper()
		s, err := b.Spool(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	fill(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	if _, err := s.Write(make([]byte, 2*size)); err != nil {
		t.Fatal(err)
	}
	id, parts, err := s.Parts(t.Context(), "a", size, false)
	if err != nil {
		t.Fatal(err)
	}
	fill(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, b, "b", strings.Repeat("b", 3*size)) // there is room
	if _, err := b.CompleteMultipart(t.Context(), "a", id, parts, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
	if have := read(t, b, "a"); have != string(make([]byte, 2*size)) {
		t.Errorf("a has %d bytes", len(have))
	}
}

func TestADiskWithoutInodes(t *testing.T) {
	dir := mountTmpfs(t, "nr_inodes=20")
	b := openTest(t, dir)
	var err error
	for i := 0; err == nil && i < 30; i++ {
		_, err = b.Put(t.Context(), strings.Repeat("x/", i)+"x", strings.NewReader("x"), 1, bucket.Condition{})
	}
	if !errors.Is(err, bucket.ErrFull) {
		t.Errorf("put: %v", err)
	}
	if _, err := b.CreateMultipart(t.Context(), "a"); !errors.Is(err, bucket.ErrFull) {
		t.Errorf("create upload: %v", err)
	}
	have := keys(t, b)
	if err := b.Delete(t.Context(), have...); err != nil {
		t.Error(err)
	}
	put(t, b, "x", "room again")
}

func TestANetworkFilesystemIsRefused(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	unmount, err := forgetfs.New().Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	_, err = Open(filepath.Join(dir, "bucket"), Options{})
	if err == nil {
		t.Fatal("a FUSE filesystem was accepted")
	}
	for _, word := range []string{dir, "FUSE", "local disk", "network=allow"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	b, err := Open(filepath.Join(dir, "bucket"), Options{AllowNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "a", "x")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
