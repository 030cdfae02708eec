package capture

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An inode is a file of any type, held by an O_PATH descriptor: it stays the same
// file whatever happens to its name, and holding it does nothing to it (a device
// is not opened).
type inode struct {
	fd   int
	stat unix.Stat_t
}

// hold opens one name in an open folder. Errors: unix.ENOENT and others.
func hold(dir int, name string) (*inode, error) {
	fd, err := openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	i := &inode{fd: fd}
	if err := unix.Fstat(fd, &i.stat); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (i *inode) close() { _ = unix.Close(i.fd) }

func (i *inode) kind() uint32    { return i.stat.Mode & unix.S_IFMT }
func (i *inode) isDir() bool     { return i.kind() == unix.S_IFDIR }
func (i *inode) isRegular() bool { return i.kind() == unix.S_IFREG }

// magic is a path to the inode itself (proc(5), /proc/pid/fd), for calls that an
// O_PATH descriptor is no good for.
func (i *inode) magic() string { return magic(i.fd) }

func magic(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// open opens a regular file for reading.
func (i *inode) open() (*os.File, error) {
	fd, err := unix.Open(i.magic(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), i.magic()), nil
}

// readlink returns what a symbolic link says.
func (i *inode) readlink() (string, error) {
	buf := make([]byte, unix.PathMax+1)
	n, err := unix.Readlinkat(i.fd, "", buf)
	if err != nil {
		return "", err
	}
	if n > unix.PathMax {
		return "", fmt.Errorf("symbolic link of more than %d bytes", unix.PathMax)
	}
	return string(buf[:n]), nil
}

// xattr returns one extended attribute of what path names; ok is false when
// there is none of that name.
func xattr(path, name string) (value string, ok bool, err error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Getxattr(path, name, buf)
		switch {
		case err == unix.ERANGE:
			buf = make([]byte, xattrSizeMax)
		case err == unix.ENODATA || err == unix.ENOTSUP:
			return "", false, nil
		case err != nil:
			return "", false, err
		default:
			return string(buf[:n]), true, nil
		}
	}
}

// xattrSizeMax is the most that the kernel stores in one value, and in the list
// of names (XATTR_SIZE_MAX, XATTR_LIST_MAX in linux/limits.h).
const xattrSizeMax = 64 << 10

// xattrs returns those extended attributes that go into a layer.
func (i *inode) xattrs() (map[string]string, error) {
	buf := make([]byte, 1024)
	n, err := unix.Listxattr(i.magic(), buf)
	if err == unix.ERANGE {
		buf = make([]byte, xattrSizeMax)
		n, err = unix.Listxattr(i.magic(), buf)
	}
	if err == unix.ENOTSUP || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var attrs map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if !portable(name) {
			continue
		}
		value, ok, err := xattr(i.magic(), name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !ok {
			continue // taken away meanwhile
		}
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[name] = value
	}
	return attrs, nil
}

// portable says whether an extended attribute belongs to the file, and not to
// the overlay that it is in or the host that it is on.
func portable(name string) bool {
	namespace, rest, _ := strings.Cut(name, ".")
	switch namespace {
	case "user", "trusted":
		return !strings.HasPrefix(rest, "overlay.")
	case "security":
		// Labels come with a mount, and EVM's signatures are made with a host's key.
		return rest == "capability" || rest == "ima"
	case "system":
		return rest == "posix_acl_access" || rest == "posix_acl_default"
	}
	return false
}

// isWhiteout says whether stat is that of a whiteout in its usual form.
func isWhiteout(stat *unix.Stat_t) bool {
	return stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == 0
}

// vanished reports whether err says that a name is not there (any more).
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE)
}
