package file

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// objectSuffix marks the files that are objects; see the package comment.
const objectSuffix = "@"

// split returns the folder and the file name of the object at key.
func split(key string) (dir, name string) {
	dir, name = path.Split(key)
	if dir = strings.TrimSuffix(dir, "/"); dir == "" {
		dir = "."
	}
	return dir, name + objectSuffix
}

// openAt opens a path below the bucket's folder. No symbolic link is followed,
// so nobody who may write into the folder can lead us out of it.
func (b *Bucket) openAt(name string, flags int) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o600
	}
	for {
		fd, err := unix.Openat2(int(b.root.Fd()), name, how)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN: // EAGAIN: a rename elsewhere disturbed the lookup
		case err != nil:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		default:
			return os.NewFile(uintptr(fd), name), nil
		}
	}
}

func (b *Bucket) openFolder(name string) (*os.File, error) {
	return b.openAt(name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openObject opens the object at key for reading.
func (b *Bucket) openObject(key string) (*os.File, unix.Stat_t, error) {
	dir, name := split(key)
	// O_NONBLOCK: a pipe that someone has put there must not hold us up.
	f, err := b.openAt(path.Join(dir, name), unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, unix.Stat_t{}, b.missing(err)
	}
	st, err := statFile(f)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%w: %s is not a regular file", bucket.ErrUnavailable, f.Name())
	}
	if err != nil {
		_ = f.Close()
		return nil, unix.Stat_t{}, err
	}
	return f, st, nil
}

// missing turns the errors that mean "no such object" into that class, after a
// look whether it is not the whole folder that is gone.
func (b *Bucket) missing(err error) error {
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	if root, err := statFile(b.root); err != nil || root.Nlink == 0 {
		return fmt.Errorf("%w: the folder has been removed", bucket.ErrUnavailable)
	}
	return bucket.ErrNotExist
}

// parent opens the folder that key's object is in, made if need be. It is on
// disk then, with all the folders above it.
func (b *Bucket) parent(key string) (*os.File, error) {
	dir, _ := split(key)
	if b.durable.has(dir) {
		f, err := b.openFolder(dir)
		if !errors.Is(err, unix.ENOENT) {
			return f, err
		}
		b.durable.clear() // someone tidies up
	}
	return b.makeFolder(dir)
}

// parentAhead begins to make the folder that key's object will be in, if it is
// not known to be there, so that it is put on disk together with the object's
// bytes.
func (b *Bucket) parentAhead(key string) *comingFolder {
	c := &comingFolder{b: b, key: key}
	if dir, _ := split(key); !b.durable.has(dir) {
		c.making.Go(func() {
			var f *os.File
			if f, c.err = b.makeFolder(dir); c.err == nil {
				_ = f.Close()
			}
		})
	}
	return c
}

// A comingFolder is the folder of a key, which may be being made. Whoever has
// one waits for it, or opens it.
type comingFolder struct {
	b      *Bucket
	key    string
	making sync.WaitGroup
	err    error
}

func (c *comingFolder) wait() { c.making.Wait() }

// open is parent.
func (c *comingFolder) open() (*os.File, error) {
	c.wait()
	if c.err != nil {
		return nil, c.err
	}
	return c.b.parent(c.key)
}

// makeFolder opens the folder at dir, and makes those on the way that are not
// there. A folder that is there may have been made a moment ago by someone who
// has not synced it yet: so the folder above every one that we have not seen
// synced is synced, whoever made it.
func (b *Bucket) makeFolder(dir string) (*os.File, error) {
	above, err := b.openFolder(".")
	if err != nil || dir == "." {
		return above, err
	}
	for at, rest, done := "", dir, false; !done; {
		var name string
		name, rest, done = cutLast(rest)
		at = path.Join(at, name)
		if !b.durable.has(at) {
			err := unix.Mkdirat(int(above.Fd()), name, 0o700)
			if err == nil || err == unix.EEXIST {
				err = above.Sync()
			}
			if err != nil {
				_ = above.Close()
				return nil, &os.PathError{Op: "make folder", Path: at, Err: err}
			}
			b.durable.add(at)
		}
		next, err := b.openFolder(at)
		_ = above.Close()
		if err != nil {
			b.durable.clear()
			return nil, err
		}
		above = next
	}
	return above, nil
}

// cutLast cuts the first segment off a path and says whether it was the last.
func cutLast(p string) (name, rest string, last bool) {
	name, rest, more := strings.Cut(p, "/")
	return name, rest, !more
}

// makeDurable makes the folder dir with all above it, and sees to it that they
// are on disk.
func makeDurable(dir string) error {
	above := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrNotExist) && above != dir {
		if err := makeDurable(above); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	there := errors.Is(err, os.ErrExist)
	if err != nil && !there {
		return err
	}
	f, err := os.Open(above)
	if there && errors.Is(err, os.ErrPermission) {
		return nil // made for us by someone else
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func statFile(f *os.File) (st unix.Stat_t, err error) {
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return st, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, nil
}

// A folderSet remembers folders, not more than fit.
type folderSet struct {
	mu  sync.Mutex
	set map[string]struct{}
}

const maxFolders = 1 << 17

func (s *folderSet) has(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.set[dir]
	return ok
}

func (s *folderSet) add(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil || len(s.set) >= maxFolders {
		s.set = map[string]struct{}{}
	}
	s.set[dir] = struct{}{}
}

func (s *folderSet) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = nil
}
