package reload

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestChangesAreNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	long := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"nothing", func() {}, false},
		{"touched", func() { _ = os.Chtimes(path, time.Now(), time.Now()) }, false},
		{"other bytes of the same length, at once", func() { write(t, path, "two") }, true},
		{"longer, with the old time", func() { write(t, path, "three"); _ = os.Chtimes(path, long, long) }, true},
		{"removed", func() { _ = os.Remove(path) }, true},
		{"replaced by the same bytes", func() { write(t, path+"2", "one"); _ = os.Rename(path+"2", path) }, false},
		{"replaced by others", func() { write(t, path+"2", "two"); _ = os.Rename(path+"2", path) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, path, "one")
			_ = os.Chtimes(path, long, long)
			var f Files
			if data, err := f.Read(path, 10); err != nil || string(data) != "one" {
				t.Fatalf("%q, %v", data, err)
			}
			c.change()
			for range 2 {
				if got := f.Changed(); got != c.want {
					t.Errorf("changed: %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestAFreshFileThatChangesWithinItsTimesGrain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "one")
	at := time.Now()
	_ = os.Chtimes(path, at, at)
	var f Files
	if _, err := f.Read(path, 10); err != nil {
		t.Fatal(err)
	}
	write(t, path, "two")
	_ = os.Chtimes(path, at, at)
	if !f.Changed() {
		t.Error("a file with the same length and time hid its new bytes")
	}
}

func TestWhatCannotBeReadIsRemembered(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var f Files
	if _, err := f.Read(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if f.Changed() {
		t.Error("not there, as before")
	}
	write(t, path, "one")
	if !f.Changed() {
		t.Error("it came")
	}
	write(t, path, strings.Repeat("x", 11))
	if _, err := f.Read(path, 10); err == nil || !strings.Contains(err.Error(), "10 bytes") {
		t.Error(err)
	}
	if _, err := f.Read(dir, 10); err == nil {
		t.Error("read a folder")
	}
}
