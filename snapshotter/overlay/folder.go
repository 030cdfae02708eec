package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A folder is the root that a Snapshotter keeps everything under; it knows
// where things are in it.
type folder string

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{string(f)}, elem...)...)
}

func (f folder) lock() string              { return f.path("lock") }
func (f folder) metadata() string          { return f.path("metadata.db") }
func (f folder) trash() string             { return f.path("trash") }
func (f folder) snapshots() string         { return f.path("sn") }
func (f folder) snapshot(id string) string { return f.path("sn", id) }
func (f folder) fs(id string) string       { return f.path("sn", id, "fs") }
func (f folder) work(id string) string     { return f.path("sn", id, "work") }

// makeRoot creates the root and the folders in it, or takes over what is there.
func makeRoot(path string) (folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	// These separate folders and options in what overlayfs is given.
	if strings.ContainsAny(path, `:,\`) {
		return "", fmt.Errorf("root %q: overlayfs cannot take a path with ':', ',' or '\\' in it; choose another root", path)
	}
	f := folder(path)
	if err := f.mayTake(); err != nil {
		return "", err
	}
	for _, dir := range []string{path, f.snapshots(), f.trash()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", err
		}
	}
	return f, syncFolder(path)
}

// mayTake refuses a folder that holds something else: its mode is about to be
// changed, and things in it deleted.
func (f folder) mayTake() error {
	if _, err := os.Stat(f.lock()); err == nil {
		return nil
	}
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		switch entry.Name() {
		case "lost+found", "sn", "trash": // a fresh filesystem; a first start that was cut short
		default:
			return fmt.Errorf("root %s is not a snapshotter's and has other things in it, such as %s; choose an empty folder, or one that is not there yet", f, entry.Name())
		}
	}
	return nil
}

// syncFolder makes the entries of a folder, and its owner and mode, survive a
// loss of power.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// syncAll flushes the filesystem that the root is on.
func (f folder) syncAll() error {
	dir, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", f, err)
	}
	return nil
}
