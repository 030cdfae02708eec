package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// files are named files: a folder or the inside of a tar. Names have forward
// slashes and stay below the top.
type files interface {
	// open reads a regular file. Errors: fs.ErrNotExist.
	open(name string) (file, error)
	Close() error
}

type file interface {
	io.ReadSeekCloser
	Size() int64
}

// folder is files in a directory.
type folder string

func (f folder) open(name string) (file, error) {
	h, err := os.Open(filepath.Join(string(f), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	fi, err := h.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fail(ErrDamaged, "%s is no regular file", name)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return folderFile{h, fi.Size()}, nil
}

func (f folder) Close() error { return nil }

type folderFile struct {
	*os.File
	size int64
}

func (f folderFile) Size() int64 { return f.size }

// readSmall reads a whole file of at most limit bytes.
func readSmall(fsys files, name string, limit int64) ([]byte, error) {
	f, err := fsys.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fail(ErrDamaged, "%s has %d bytes, allowed are %d", name, f.Size(), limit)
	}
	b := make([]byte, f.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
