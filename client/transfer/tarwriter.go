package transfer

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const tarBlock = 512

// tarWriter writes a tar whose files are filled in any order and at once, since
// it is known how long each will be. The file takes its name when it is whole.
type tarWriter struct {
	name string
	f    *os.File

	mu  sync.Mutex
	end int64 // where the next file goes
}

func createTar(name string) (*tarWriter, error) {
	dir := filepath.Dir(name)
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is there, and no regular file (choose another name)", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, tempPrefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if notExist(err) {
		return nil, fail(ErrNotFound, "there is no folder %s (make it first)", dir)
	}
	if err != nil {
		return nil, err
	}
	return &tarWriter{name: name, f: f}, nil
}

// add makes room for a file of size bytes and returns where its content goes.
func (w *tarWriter) add(name string, size int64) (*io.OffsetWriter, error) {
	var header bytes.Buffer
	tw := tar.NewWriter(&header)
	// The time is a fixed one: the same image makes the same archive.
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", name, w.name, err)
	}
	w.mu.Lock()
	at := w.end
	content := at + int64(header.Len())
	w.end = content + (size+tarBlock-1)/tarBlock*tarBlock
	w.mu.Unlock()
	if _, err := w.f.WriteAt(header.Bytes(), at); err != nil {
		return nil, err
	}
	return io.NewOffsetWriter(w.f, content), nil
}

func (w *tarWriter) addBytes(name string, b []byte) error {
	at, err := w.add(name, int64(len(b)))
	if err != nil {
		return err
	}
	_, err = at.Write(b)
	return err
}

// finish ends the tar and gives it its name, in place of what has it now.
func (w *tarWriter) finish() error {
	// Two empty blocks end it; the padding of the last file may lie beyond what
	// was written.
	if err := w.f.Truncate(w.end + 2*tarBlock); err != nil {
		return fmt.Errorf("write %s: %w", w.name, err)
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", w.name, err)
	}
	if err := os.Rename(w.f.Name(), w.name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(w.name))
}

// close takes away what was not finished.
func (w *tarWriter) close() error {
	os.Remove(w.f.Name()) // fails when it has been renamed
	return w.f.Close()
}
