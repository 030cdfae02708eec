package capture

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A folder is open, and its entries are reached through it.
type folder struct {
	fd     int
	budget *budget
	// opaque is the value of the overlay's mark: "y" hides what the layers below
	// have, "x" says that whiteouts may be in the form of xattrs here.
	opaque string
}

// budget counts open folders. One is open for each level of the path that is
// being read, and for each layer that has that folder, so a container can nest
// them until the process could open nothing else.
type budget struct{ left atomic.Int64 }

const maxFolders = 8 << 10

// openFolder opens a folder: "." of one that is held, or with unix.AT_FDCWD the
// one at a path that is trusted.
func openFolder(dir int, name string, marks marks, b *budget) (*folder, error) {
	if b.left.Add(-1) < 0 {
		b.left.Add(1)
		return nil, fmt.Errorf("%w: folders are nested too deep to be read, %d are open", ErrLimit, maxFolders)
	}
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		b.left.Add(1)
		return nil, err
	}
	f := &folder{fd: fd, budget: b}
	f.opaque, _, err = xattr(magic(fd), marks.opaque())
	if err != nil {
		f.close()
		return nil, fmt.Errorf("%s: %w", marks.opaque(), err)
	}
	return f, nil
}

func (f *folder) close() {
	_ = unix.Close(f.fd)
	f.budget.left.Add(1)
}

// names lists a folder, sorted by bytes.
func (f *folder) names() ([]string, error) {
	// A descriptor of its own: reading moves its position.
	fd, err := openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if vanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), magic(f.fd))
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if vanished(err) { // the folder itself, while it is open
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

// marks are the xattrs in which an overlay keeps its own notes; the value is
// what they begin with.
type marks string

const (
	trustedMarks marks = "trusted.overlay."
	userMarks    marks = "user.overlay."
)

func (m marks) opaque() string   { return string(m) + "opaque" }
func (m marks) whiteout() string { return string(m) + "whiteout" }

// foreign are the marks of an overlay that keeps parts of a file or folder
// elsewhere.
func (m marks) foreign() []string { return []string{string(m) + "redirect", string(m) + "metacopy"} }

// whiteoutByXattr says whether a file is a whiteout in the form of an empty file
// with a mark (Documentation/filesystems/overlayfs.rst, "Whiteouts and opaque
// directories").
func (m marks) whiteoutByXattr(path string, stat *unix.Stat_t) (bool, error) {
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size != 0 {
		return false, nil
	}
	_, ok, err := xattr(path, m.whiteout())
	return ok, err
}
