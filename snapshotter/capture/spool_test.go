package capture_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// A tree with files below and above the size from which blocks are shared, with
// holes, and with lengths that are no multiple of anything.
func writeMixed(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{5, 6})
	for i, size := range []int{0, 1, 511, 512, 513, 100_000, 128 << 10, 128<<10 + 1, 1<<20 + 777, 40 << 20} {
		b := make([]byte, size)
		_, err := r.Read(b)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("file", i)), b, 0o644))
		bytes += int64(size)
	}
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	defer f.Close()
	for _, at := range []int64{3 << 20, 9<<20 + 4096} {
		_, err = f.WriteAt([]byte(strings.Repeat("x", 200_000)), at)
		must(t, err)
	}
	must(t, f.Truncate(64<<20+5))
	return bytes + 400_000
}

// A spool gives back the same tar as a plain writer gets.
func TestSpool(t *testing.T) {
	s := newStack(t)
	for _, tt := range []struct {
		name   string
		dir    func(t *testing.T) string
		shares bool
	}{
		{"a filesystem that shares no blocks", tmpfs, false},
		{"a filesystem that shares blocks", xfs, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir(t)
			s.upper = filepath.Join(dir, "upper")
			must(t, os.Mkdir(s.upper, 0o755))
			data := writeMixed(t, s.upper)
			want, result := s.write(t, capture.Options{})

			before := used(t, dir)
			spool, err := capture.NewSpool(dir)
			must(t, err)
			defer spool.Close()
			var told int64
			got, err := capture.Write(t.Context(), spool, capture.Options{
				Upper: s.upper, Lowers: s.lowers, OnProgress: func(n int64) { told = n },
			})
			must(t, err)
			if got.Size != result.Size || got.Entries != result.Entries || told != got.Size {
				t.Errorf("%+v, told of %d bytes; a plain writer got %+v", got, told, result)
			}
			// The sparse file alone would take 64 MiB. XFS gives some blocks in advance.
			took, most := used(t, dir)-before, data+1<<20
			if tt.shares {
				most = data / 2
			}
			if took > most {
				t.Errorf("the spool takes %d bytes for %d of data, want at most %d", took, data, most)
			}
			// What is written to the files now is not in the tar.
			for _, name := range []string{"file8", "sparse"} {
				f, err := os.OpenFile(filepath.Join(s.upper, name), os.O_WRONLY, 0)
				must(t, err)
				_, err = f.Write(bytes.Repeat([]byte("later"), 50_000))
				must(t, errors.Join(err, f.Close()))
			}
			r, err := spool.Reader(t.Context())
			must(t, err)
			hash := sha256.New()
			n, err := io.Copy(hash, r)
			must(t, err)
			if n != int64(len(want)) || [32]byte(hash.Sum(nil)) != sha256.Sum256(want) {
				t.Errorf("%d bytes with another digest, want %d", n, len(want))
			}
		})
	}
}

func TestASpoolLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	spool, err := capture.NewSpool(dir)
	must(t, err)
	_, err = spool.Write([]byte("x"))
	must(t, err)
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("in the folder: %v", entries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := spool.Reader(ctx)
	must(t, err)
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("read after the context had ended: %v", err)
	}
	must(t, spool.Close())
}

// used is how much of a filesystem is.
func used(t testing.TB, dir string) int64 {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Syncfs(fd))
	var st unix.Statfs_t
	must(t, unix.Fstatfs(fd, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// xfs returns a folder on a new XFS, which is gone when the test ends in any way.
func xfs(t *testing.T) string {
	needs.Root(t)
	needs.Commands(t, "mkfs.xfs", "losetup")
	file := filepath.Join(t.TempDir(), "xfs")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Truncate(file, 400<<20))
	run(t, "mkfs.xfs", "-q", "-m", "reflink=1", file)
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", file))
	defer run(t, "losetup", "--detach", device) // as soon as it is not in use
	return detached(t, "xfs", device)
}

func tmpfs(t *testing.T) string {
	needs.Root(t)
	return detached(t, "tmpfs", "none")
}

// detached mounts a filesystem nowhere.
func detached(t *testing.T, kind, source string) string {
	t.Helper()
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	needs.That(t, err == nil, fmt.Sprint("needs ", kind, ": ", err))
	defer unix.Close(fs)
	must(t, unix.FsconfigSetString(fs, "source", source))
	must(t, unix.FsconfigCreate(fs))
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(mnt) })
	return fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), mnt)
}
