package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"

	"golang.org/x/sys/unix"
)

// sameMeta says whether two inodes are of one type and have the same mode,
// owner, modification time and extended attributes.
func sameMeta(a, b *inode) (bool, error) {
	return same(a, b, true)
}

func same(a, b *inode, mtime bool) (bool, error) {
	if a.stat.Mode != b.stat.Mode || a.stat.Uid != b.stat.Uid || a.stat.Gid != b.stat.Gid ||
		mtime && a.stat.Mtim != b.stat.Mtim {
		return false, nil
	}
	attrsA, err := a.xattrs()
	if err != nil {
		return false, err
	}
	attrsB, err := b.xattrs()
	return maps.Equal(attrsA, attrsB), err
}

// sameFile says whether the overlay copied a file up and nothing came of it, as
// after a chown to the owner that it had. That the time is the same proves
// nothing, since package managers set it, so contents are compared.
func sameFile(ctx context.Context, up, low *inode) (bool, error) {
	// Of a file with several names the copy is another file, and that is a change.
	if up.stat.Nlink != 1 || low.stat.Nlink != 1 || up.stat.Size != low.stat.Size || up.stat.Rdev != low.stat.Rdev {
		return false, nil
	}
	if same, err := sameMeta(up, low); !same || err != nil {
		return false, err
	}
	switch up.kind() {
	case unix.S_IFREG:
		return sameContent(ctx, up, low)
	case unix.S_IFLNK:
		a, err := up.readlink()
		if err != nil {
			return false, err
		}
		b, err := low.readlink()
		return a == b, err
	}
	return true, nil
}

func sameContent(ctx context.Context, a, b *inode) (bool, error) {
	fileA, err := a.open()
	if err != nil {
		return false, err
	}
	defer fileA.Close()
	fileB, err := b.open()
	if err != nil {
		return false, err
	}
	defer fileB.Close()
	buf := make([]byte, 2*min(copyBuffer, max(1, a.stat.Size)))
	half := len(buf) / 2
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := readFull(fileA, buf[:half])
		if err != nil {
			return false, err
		}
		m, err := readFull(fileB, buf[half:])
		if err != nil {
			return false, err
		}
		if !bytes.Equal(buf[:n], buf[half:half+m]) {
			return false, nil
		}
		if n < half {
			return true, nil
		}
	}
}

// readFull reads until buf is full or the file ends.
func readFull(f *os.File, buf []byte) (int, error) {
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
