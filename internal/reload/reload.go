// Package reload notices that files have changed, by looking at them now and
// then. Folders that are swapped whole (Kubernetes' secrets), editors that write
// a new file in place of the old one, and network file systems all look alike to
// it, which is more than can be said of notifications.
package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// settled is how old a file's time of change must be, when the file is read, for
// an equal time to mean equal bytes later on: clocks of file systems are coarse.
const settled = 3 * time.Second

// Files are files as they were when they were read. Safe for concurrent use.
type Files struct {
	mu   sync.Mutex
	seen map[string]print
}

// A print tells versions of a file apart.
type print struct {
	err     bool // it could not be read
	size    int64
	mod     time.Time
	settled bool
	limit   int64
	sum     [sha256.Size]byte
}

// Read reads a file of at most limit bytes, and remembers what it read, or that
// it could not. Errors are those of package os, or say that it is too large.
func (f *Files) Read(path string, limit int64) ([]byte, error) {
	data, p, err := read(path, limit)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = make(map[string]print)
	}
	f.seen[path] = p
	return data, err
}

// Changed says whether reading one of the files would give something else than
// Read gave. One that came back with the same bytes has not changed.
func (f *Files) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, was := range f.seen {
		if info, err := os.Stat(path); err == nil && !was.err && was.settled && info.Size() == was.size && info.ModTime().Equal(was.mod) {
			continue
		}
		_, now, _ := read(path, was.limit)
		if now.err != was.err || now.sum != was.sum {
			return true
		}
		f.seen[path] = now
	}
	return false
}

func read(path string, limit int64) ([]byte, print, error) {
	p := print{err: true, limit: limit}
	file, err := os.Open(path)
	if err != nil {
		return nil, p, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, p, err
	}
	if !info.Mode().IsRegular() { // a pipe would be read for ever
		return nil, p, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, p, err
	}
	if int64(len(data)) > limit {
		return nil, p, fmt.Errorf("read %s: it has more than the %d bytes that are allowed", path, limit)
	}
	p = print{size: info.Size(), mod: info.ModTime(), settled: time.Since(info.ModTime()) > settled, limit: limit, sum: sha256.Sum256(data)}
	return data, p, nil
}

// Poll calls look every so often until ctx ends. It is for a goroutine whose
// owner waits for it.
func Poll(ctx context.Context, every time.Duration, look func(context.Context)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			look(ctx)
		case <-ctx.Done():
			return
		}
	}
}
