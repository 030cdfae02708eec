package capture

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// paxXattr begins the PAX records that hold extended attributes.
const paxXattr = "SCHILY.xattr."

// maxPAX is how large the PAX records of an entry may be together. Readers have
// limits; that of Go's archive/tar is 1 MiB (maxSpecialFileSize).
const maxPAX = 1<<20 - 16<<10

// unfit says why a layer cannot hold a file.
type unfit string

func (u unfit) Error() string { return string(u) }

var errSocket = unfit("is a socket")

// header describes an inode. The error is an unfit where a layer cannot hold it
// at all; notes tell of what is lost of one that it can.
func header(name string, i *inode) (h *tar.Header, notes []string, err error) {
	st := &i.stat
	h = &tar.Header{
		Name:    name,
		Mode:    int64(st.Mode & 0o7777),
		Uid:     int(st.Uid),
		Gid:     int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()),
	}
	switch i.kind() {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = i.readlink(); err != nil {
			return nil, nil, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if i.kind() == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFSOCK:
		return nil, nil, errSocket
	default:
		return nil, nil, unfit(fmt.Sprintf("is of a type that a layer does not know (%#o)", i.kind()))
	}
	attrs, err := i.xattrs()
	if err != nil {
		return nil, nil, err
	}
	size := len(h.Name) + len(h.Linkname)
	for key, value := range attrs {
		if strings.Contains(key, "=") { // what ends the key in a PAX record
			notes = append(notes, fmt.Sprintf("has lost its extended attribute %q: a tar cannot hold one with '=' in its name", key))
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+key] = value
		size += len(paxXattr) + len(key) + len(value) + len("1234567 =\n")
	}
	if size > maxPAX {
		return nil, nil, unfit(fmt.Sprintf("has %d bytes of name and extended attributes, more than programs read", size))
	}
	return h, notes, nil
}

// asUnfit returns the reason when err says that a layer cannot hold something.
func asUnfit(err error) (reason string, ok bool) {
	u, ok := errors.AsType[unfit](err)
	return string(u), ok
}
