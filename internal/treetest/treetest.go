// Package treetest reads all that there is to know of a tree of files, for tests
// that compare two.
package treetest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A File is what there is to know of one.
type File struct {
	Mode     string // with the type
	UID, GID uint32
	Mtime    string // seconds and nanoseconds
	Content  string // a length and a digest, a link's target, a device's number
	Xattrs   map[string]string
	Same     string // the first path of the same inode
}

// Read reads everything below root, but of root itself nothing. The keys are
// paths from root; what is in skip is left out, with what is below it. What
// containerd changes when it unpacks a layer is left out too: xattrs in the
// namespace "trusted", and times before 1970, which become 1970.
func Read(t testing.TB, root string, skip ...string) map[string]File {
	t.Helper()
	left := map[string]bool{"": false}
	for _, path := range skip {
		left[path] = true
	}
	files := map[string]File{}
	inodes := map[uint64]string{}
	// With a slash, since root may be a link, as those in /proc are.
	err := filepath.WalkDir(root+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path[len(root):], "/")
		if left[rel] {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if rel == "" {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		f, err := read(path, &st)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if first, ok := inodes[st.Ino]; ok {
				f.Same = first
			} else {
				inodes[st.Ino] = rel
			}
		}
		files[rel] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(path string, st *unix.Stat_t) (f File, err error) {
	f = File{Mode: fmt.Sprintf("%#o", st.Mode), UID: st.Uid, GID: st.Gid, Mtime: "0.000000000"}
	if st.Mtim.Sec >= 0 {
		f.Mtime = fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		if err != nil {
			return f, err
		}
		f.Content = fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
	case unix.S_IFLNK:
		if f.Content, err = os.Readlink(path); err != nil {
			return f, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Content = fmt.Sprint(st.Rdev)
	}
	f.Xattrs, err = xattrs(path)
	return f, err
}

func xattrs(path string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{}
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		attrs[name] = string(value[:n])
	}
	return attrs, nil
}
