package capture

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A lower is one place in the layers below the upper, as an overlay of them
// would show it: nothing, one file, or folders of several layers merged.
type lower struct {
	// inode is what is there; nil when nothing is. Of merged folders it is the
	// topmost, whose owner, mode and times are the ones seen.
	inode *inode
	// folders are the merged ones, the topmost first; none unless inode is a
	// folder.
	folders []*folder
}

// openLowers opens the roots of the layers.
func openLowers(paths []string, m marks, b *budget) (_ *lower, err error) {
	l := &lower{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, path := range paths {
		f, err := openFolder(unix.AT_FDCWD, path, m, b)
		if err != nil {
			return nil, err
		}
		l.folders = append(l.folders, f)
		if l.inode == nil {
			if l.inode, err = hold(f.fd, "."); err != nil {
				return nil, err
			}
		}
		if f.opaque == "y" {
			break
		}
	}
	return l, nil
}

func (l *lower) close() {
	if l.inode != nil {
		l.inode.close()
	}
	for _, f := range l.folders {
		f.close()
	}
}

func (l *lower) exists() bool { return l.inode != nil }
func (l *lower) isDir() bool  { return len(l.folders) > 0 }

// lookup finds one name in the merged folders, by overlayfs's rules
// (fs/overlayfs/namei.c, ovl_lookup): from the top down, until a whiteout, a
// file, or an opaque folder.
func (l *lower) lookup(name string, m marks, b *budget) (_ *lower, err error) {
	found := &lower{}
	defer func() {
		if err != nil {
			found.close()
		}
	}()
	for _, f := range l.folders {
		i, err := hold(f.fd, name)
		if vanished(err) || err == unix.ENAMETOOLONG {
			continue // layers may be on filesystems with other limits
		}
		if err != nil {
			return nil, err
		}
		whiteout := isWhiteout(&i.stat)
		if !whiteout && f.opaque == "x" {
			whiteout, err = m.whiteoutByXattr(i.magic(), &i.stat)
		}
		if err != nil || whiteout || found.inode != nil && !i.isDir() {
			i.close()
			return found, err
		}
		if !i.isDir() {
			found.inode = i
			return found, nil
		}
		sub, err := openFolder(i.fd, ".", m, b)
		if err != nil || found.inode != nil {
			i.close()
		} else {
			found.inode = i
		}
		if err != nil {
			return nil, err
		}
		found.folders = append(found.folders, sub)
		if sub.opaque == "y" {
			return found, nil
		}
	}
	return found, nil
}

// names lists every name that one of the folders has, sorted; lookup may find
// nothing there, where a layer deletes it.
func (l *lower) names() ([]string, error) {
	var all []string
	for _, f := range l.folders {
		names, err := f.names()
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
