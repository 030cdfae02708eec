package overlay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/continuity/fs"
)

func TestUsageIsWhatTheSnapshotAddsToItsParents(t *testing.T) {
	s, root := openNew(t)
	megabyte := strings.Repeat("x", 1<<20)
	layer(t, s, "base", "", tree{"big": megabyte, "small": "x"})

	base, err := s.Usage(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	if base.Inodes != 3 || base.Size < 1<<20 || base.Size > 1<<20+64<<10 { // two files and the top folder
		t.Errorf("of the layer: %+v", base)
	}

	dir, _ := at(t, prepare(t, s, "container", "base"))
	empty, err := s.Usage(t.Context(), "container")
	if err != nil || empty.Inodes != 1 || empty.Size > 64<<10 {
		t.Errorf("of a container that wrote nothing: %+v, %v", empty, err)
	}
	tree{"written": megabyte}.write(t, dir)
	if err := os.Link(filepath.Join(dir, "written"), filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "small")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Usage(t.Context(), "container")
	if err != nil {
		t.Fatal(err)
	}
	// The file, the whiteout and the top folder; the hard link is no second file.
	if got.Inodes != 3 || got.Size < 1<<20 || got.Size > 1<<20+64<<10 {
		t.Errorf("of the container: %+v", got)
	}
	// As other snapshotters count.
	want, err := fs.DiskUsage(t.Context(), root+"/sn/2/fs")
	if err != nil || fs.Usage(got) != want {
		t.Errorf("got %+v, containerd counts %+v (%v)", got, want, err)
	}

	if _, err := s.View(t.Context(), "view", "base"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Usage(t.Context(), "view"); err != nil || got.Inodes != 0 || got.Size != 0 {
		t.Errorf("of a view: %+v, %v", got, err)
	}
}

// The running container creates and deletes files while it is being measured.
func TestUsageOfWhatChanges(t *testing.T) {
	s, _ := openNew(t)
	dir, _ := at(t, prepare(t, s, "container", ""))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			sub := filepath.Join(dir, fmt.Sprint(i%10))
			_ = os.MkdirAll(filepath.Join(sub, "a/b/c"), 0o755)
			_ = os.RemoveAll(sub)
		}
	}()
	for range 300 {
		if _, err := s.Usage(t.Context(), "container"); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	<-done
}
