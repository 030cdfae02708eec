// Package forgetfs is a filesystem for tests, in memory and mounted by FUSE,
// that forgets everything that was not synced when its power is cut.
//
// It is as forgetful as POSIX lets a disk be, more so than any real filesystem:
// fsync of a file keeps its bytes and times, fsync of a folder keeps its
// entries, and neither keeps anything else, not even the file's own name.
package forgetfs

import (
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// An FS outlives its mounts: it is the disk. It must be made by New.
type FS struct {
	// FoldersNotSynced makes fsync of a folder a lie, for a test that shows
	// that another test would notice.
	FoldersNotSynced bool
	// FolderSyncTakes is how long a folder is as it was made before it is on
	// disk.
	FolderSyncTakes time.Duration

	mu      sync.Mutex
	root    *inode
	lastIno uint64
	changes int
	left    int // changes until the power is cut, when limited
	limited bool
	off     bool
}

// An inode is a file or a folder: as it is, and as it is on disk.
type inode struct {
	ino    uint64
	mode   uint32 // S_IFREG or S_IFDIR
	links  uint32 // names that it has now
	now    state
	onDisk state
}

type state struct {
	data    []byte
	mtime   time.Time
	entries map[string]*inode
}

func (s state) clone() state {
	return state{data: slices.Clone(s.data), mtime: s.mtime, entries: maps.Clone(s.entries)}
}

// New returns an empty filesystem.
func New() *FS {
	f := &FS{}
	f.root = f.newInode(syscall.S_IFDIR)
	return f
}

func (f *FS) newInode(mode uint32) *inode {
	f.lastIno++
	in := &inode{ino: f.lastIno, mode: mode, links: 1, now: state{mtime: time.Now()}}
	if mode == syscall.S_IFDIR {
		in.now.entries = map[string]*inode{}
	}
	in.onDisk = in.now.clone()
	return in
}

// Mount mounts the filesystem at dir, which needs root, and returns what
// unmounts it again.
func (f *FS) Mount(dir string) (unmount func() error, err error) {
	f.mu.Lock()
	root := &node{fs: f, in: f.root}
	f.mu.Unlock()
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{
			FsName: "forgetfs", Name: "forgetfs", DirectMount: true, DisableXAttrs: true,
		},
		RootStableAttr: &fs.StableAttr{Ino: f.root.ino},
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		// At once, also when a file is still open.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return err
		}
		server.Wait()
		return nil
	}, nil
}

// Changes is how many changes have been made so far: whatever writes, names,
// removes or syncs is one.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// CutPowerAfter lets n more changes happen. Then every call fails with EIO
// until Restart.
func (f *FS) CutPowerAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.limited = n, true
}

// Restart turns the power on again, with what is on disk. For each file and
// each name with a change that was not synced, survives says whether the change
// happened to reach the disk nevertheless; nil means that none did. The
// filesystem must not be mounted.
func (f *FS) Restart(survives func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if survives == nil {
		survives = func() bool { return false }
	}
	f.off, f.limited = false, false
	restart(f.root, survives, map[*inode]bool{})
}

func restart(in *inode, survives func() bool, seen map[*inode]bool) {
	in.links++
	if seen[in] {
		return
	}
	seen[in], in.links = true, 1
	if in.mode == syscall.S_IFREG {
		if survives() {
			in.onDisk = in.now
		}
		in.now = in.onDisk.clone()
		return
	}
	names := slices.Sorted(maps.Keys(in.now.entries))
	for name := range in.onDisk.entries {
		names = append(names, name)
	}
	for _, name := range names {
		now, there := in.now.entries[name]
		if in.onDisk.entries[name] == now || !survives() {
			continue
		}
		if there {
			in.onDisk.entries[name] = now
		} else {
			delete(in.onDisk.entries, name)
		}
	}
	in.now = in.onDisk.clone()
	for _, name := range slices.Sorted(maps.Keys(in.now.entries)) {
		restart(in.now.entries[name], survives, seen)
	}
}

// change makes a change, or fails when the power is off. The lock is held.
func (f *FS) change(do func()) syscall.Errno {
	if f.limited && f.left == 0 {
		f.off = true
	}
	if f.off {
		return syscall.EIO
	}
	f.left--
	f.changes++
	do()
	return 0
}
