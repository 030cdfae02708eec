package forgetfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/laminastore/lamina/internal/needs"
)

func mount(t *testing.T, f *FS) (dir string, unmount func()) {
	t.Helper()
	needs.Root(t)
	dir = t.TempDir()
	u, err := f.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := false
	unmount = func() {
		if !done {
			done = true
			if err := u(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// files lists all files below dir with their content.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var have []string
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		have = append(have, rel+"="+string(data))
		return err
	}))
	slices.Sort(have)
	return have
}

func TestOnlyWhatWasSyncedIsThereAfterARestart(t *testing.T) {
	f := New()
	dir, unmount := mount(t, f)
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, data string) error { return os.WriteFile(at(name), []byte(data), 0o600) }

	must(t, write("both", "data"), syncPath(at("both")))
	must(t, write("entry only", "data"))
	must(t, write("removed", "data"), syncPath(at("removed")))
	must(t, write("old", "data"), syncPath(at("old")))
	must(t, syncPath(dir))
	must(t, write("file only", "data"), syncPath(at("file only")))
	must(t, os.Remove(at("removed")))
	must(t, os.Rename(at("old"), at("new")))
	must(t, os.Link(at("both"), at("link")))
	must(t, os.Mkdir(at("folder"), 0o700), write("folder/x", "data"), syncPath(at("folder/x")), syncPath(at("folder")))
	must(t, write("both", "more data"))

	unmount()
	f.Restart(nil)
	dir, _ = mount(t, f)
	want := []string{"both=data", "entry only=", "old=data", "removed=data"}
	if have := files(t, dir); !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

func TestWhatWasNotSyncedMaySurvive(t *testing.T) {
	f := New()
	dir, unmount := mount(t, f)
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "folder/x"), []byte("data"), 0o600))
	unmount()
	f.Restart(func() bool { return true })
	dir, _ = mount(t, f)
	if have := files(t, dir); !slices.Equal(have, []string{"folder/x=data"}) {
		t.Errorf("have %q", have)
	}
}

func TestThePowerIsCutAfterSoManyChanges(t *testing.T) {
	f := New()
	dir, _ := mount(t, f)
	f.CutPowerAfter(2)
	must(t, os.Mkdir(filepath.Join(dir, "1"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "2"), 0o700))
	if err := os.Mkdir(filepath.Join(dir, "3"), 0o700); !errors.Is(err, syscall.EIO) {
		t.Errorf("a third change: %v", err)
	}
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading without power: %v", err)
	}
	if n := f.Changes(); n != 2 {
		t.Errorf("%d changes", n)
	}
}
