package capture

import "strings"

// links knows the hard links within the upper, to write the second and later
// names of a file as links to the first. Names that only a lower has do not
// count: the file is another one there.
type links struct {
	names map[fileID]link
	bytes int // that the names take
}

type fileID struct{ dev, ino uint64 }

type link struct {
	name string
	left uint64 // names that have not come yet, if none are made meanwhile
}

// maxLinkBytes is how much memory the names may take. A container can make as
// many as it likes; past this, files are written as if they had one name.
const maxLinkBytes = 128 << 20

func id(i *inode) fileID { return fileID{uint64(i.stat.Dev), i.stat.Ino} }

// first returns the name that the file was written under before, if it was.
func (l *links) first(i *inode) (string, bool) {
	if i.stat.Nlink < 2 {
		return "", false
	}
	known, ok := l.names[id(i)]
	if !ok {
		return "", false
	}
	if known.left--; known.left == 0 {
		delete(l.names, id(i))
		l.bytes -= len(known.name) + linkOverhead
	} else {
		l.names[id(i)] = known
	}
	return known.name, true
}

// written remembers a file that may come again. It returns false when there is
// no room to.
func (l *links) written(name string, i *inode) bool {
	if i.stat.Nlink < 2 {
		return true
	}
	if l.bytes+len(name)+linkOverhead > maxLinkBytes {
		return false
	}
	if l.names == nil {
		l.names = map[fileID]link{}
	}
	// A copy: the name may be a part of a longer string.
	l.names[id(i)] = link{strings.Clone(name), uint64(i.stat.Nlink) - 1}
	l.bytes += len(name) + linkOverhead
	return true
}

// linkOverhead is about what an entry of the map takes beside the name.
const linkOverhead = 96
