package capture_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/snapshotter/capture"
)

// A changer changes a file while it is being read.
type changer struct {
	bytes.Buffer
	path   string
	change func(path string) error
	once   sync.Once
}

func (c *changer) WriteZeros(n int64) error {
	_, err := c.Write(make([]byte, n))
	return err
}

func (c *changer) WriteFile(f *os.File, off, n int64) (int64, error) {
	var err error
	c.once.Do(func() { err = c.change(c.path) })
	if err != nil {
		return 0, err
	}
	return io.Copy(c, io.NewSectionReader(f, off, n))
}

// The tar is whole whatever happens to a file, and the result says what did.
func TestFilesThatChangeWhileTheyAreRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(path string) error
		note   string
	}{
		{"shorter", func(p string) error { return os.Truncate(p, 100) }, "shorter"},
		{"empty", func(p string) error { return os.Truncate(p, 0) }, "shorter"},
		{"longer", func(p string) error { return os.Truncate(p, 1<<20) }, "longer"},
		{"written to", func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("!"), 5)
			return errors.Join(err, f.Close())
		}, "written"},
		{"deleted", os.Remove, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t)
			files(t, s.upper, map[string]string{"a": strings.Repeat("x", 1000), "b": "after it"})
			must(t, os.Chtimes(s.upper+"/a", long, long))
			w := &changer{path: s.upper + "/a", change: tt.change}
			result, err := capture.Write(t.Context(), w, capture.Options{Upper: s.upper})
			must(t, err)
			r := tar.NewReader(&w.Buffer)
			for _, want := range []struct {
				name string
				size int64
			}{{"a", 1000}, {"b", 8}} {
				h, err := r.Next()
				must(t, err)
				if n, err := io.Copy(io.Discard, r); h.Name != want.name || n != want.size || err != nil {
					t.Errorf("%s with %d bytes, %v", h.Name, n, err)
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
			if tt.note == "" && result.AlteredCount != 0 ||
				tt.note != "" && (result.AlteredCount != 1 || result.Altered[0].Path != "/a" || !strings.Contains(result.Altered[0].Text, tt.note)) {
				t.Errorf("altered: %v", result.Altered)
			}
		})
	}
}

// A container that is not paused swaps files and folders for symbolic links to
// the host's, and for a device. Nothing from outside ever gets into the layer.
func TestNoWayOutOfTheUpper(t *testing.T) {
	s := newStack(t)
	secret := s.dir + "/secret"
	files(t, s.dir, map[string]string{"secret/file": "the host's secret"})
	files(t, s.upper, map[string]string{"d/file": "own", "file": "own", "e/f/file": "own"})
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			at := []string{"/d", "/file", "/e/f", "/d/file"}[r.IntN(4)]
			tmp := s.upper + "/tmp"
			_ = os.RemoveAll(tmp)
			switch r.IntN(4) {
			case 0:
				_ = os.Symlink(secret, tmp)
			case 1:
				_ = os.Symlink(secret+"/file", tmp)
			case 2:
				_ = unix.Mkfifo(tmp, 0o644) // to open it would block
			case 3:
				_ = os.Mkdir(tmp, 0o755)
				_ = os.WriteFile(tmp+"/file", []byte("own"), 0o644)
			}
			if unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, s.upper+at, unix.RENAME_EXCHANGE) != nil {
				_ = os.Rename(tmp, s.upper+at)
			}
		}
	})
	defer group.Wait()
	defer close(stop)
	for range 300 {
		var b bytes.Buffer
		_, err := capture.Write(t.Context(), &b, capture.Options{Upper: s.upper, Lowers: s.lowers})
		must(t, err)
		if bytes.Contains(b.Bytes(), []byte("the host's secret")) {
			t.Fatalf("the secret is in the layer: %q", entries(t, b.Bytes()))
		}
		headers(t, b.Bytes())
	}
}
