package forgetfs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A node is an inode as the kernel knows it while the filesystem is mounted.
type node struct {
	fs.Inode
	fs *FS
	in *inode
}

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
)

// known returns the kernel's node for an inode, and its attributes.
func (n *node) known(ctx context.Context, in *inode, out *fuse.EntryOut) *fs.Inode {
	in.attr(&out.Attr)
	return n.NewInode(ctx, &node{fs: n.fs, in: in}, fs.StableAttr{Mode: in.mode, Ino: in.ino})
}

func (in *inode) attr(out *fuse.Attr) {
	out.Ino = in.ino
	out.Mode = in.mode | 0o700
	out.Size = uint64(len(in.now.data))
	out.Blocks = (out.Size + 511) / 512
	out.Nlink = in.links
	out.SetTimes(nil, &in.now.mtime, &in.now.mtime)
}

// lock takes the filesystem's lock, and fails when the power is off.
func (n *node) lock() (unlock func(), errno syscall.Errno) {
	n.fs.mu.Lock()
	if n.fs.off {
		errno = syscall.EIO
	}
	return n.fs.mu.Unlock, errno
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, errno := n.lock()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	in, ok := n.in.now.entries[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.known(ctx, in, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	unlock, errno := n.lock()
	defer unlock()
	n.in.attr(&out.Attr)
	return errno
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	unlock, _ := n.lock()
	defer unlock()
	errno := n.fs.change(func() {
		if size, ok := in.GetSize(); ok {
			n.in.resize(int(size))
		}
		if mtime, ok := in.GetMTime(); ok {
			n.in.now.mtime = mtime
		}
	})
	n.in.attr(&out.Attr)
	return errno
}

func (in *inode) resize(size int) {
	if size <= len(in.now.data) {
		in.now.data = in.now.data[:size:size]
	} else {
		in.now.data = append(in.now.data, make([]byte, size-len(in.now.data))...)
	}
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	unlock, errno := n.lock()
	defer unlock()
	var list []fuse.DirEntry
	for name, in := range n.in.now.entries {
		list = append(list, fuse.DirEntry{Name: name, Mode: in.mode, Ino: in.ino})
	}
	return fs.NewListDirStream(list), errno
}

func (n *node) make(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, _ := n.lock()
	defer unlock()
	if _, taken := n.in.now.entries[name]; taken {
		return nil, syscall.EEXIST
	}
	var in *inode
	if errno := n.fs.change(func() {
		in = n.fs.newInode(mode)
		n.in.now.entries[name] = in
	}); errno != 0 {
		return nil, errno
	}
	return n.known(ctx, in, out), 0
}

func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, syscall.S_IFDIR, out)
}

func (n *node) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	in, errno := n.make(ctx, name, syscall.S_IFREG, out)
	return in, nil, 0, errno
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	unlock, errno := n.lock()
	defer unlock()
	return nil, 0, errno
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	unlock, errno := n.lock()
	defer unlock()
	data := n.in.now.data
	if errno != 0 || off >= int64(len(data)) {
		return fuse.ReadResultData(nil), errno
	}
	return fuse.ReadResultData(dest[:copy(dest, data[off:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	unlock, _ := n.lock()
	defer unlock()
	errno := n.fs.change(func() {
		if end := int(off) + len(data); end > len(n.in.now.data) {
			n.in.resize(end)
		}
		copy(n.in.now.data[off:], data)
		n.in.now.mtime = time.Now()
	})
	return uint32(len(data)), errno
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	if n.in.mode == syscall.S_IFDIR {
		time.Sleep(n.fs.FolderSyncTakes)
	}
	unlock, _ := n.lock()
	defer unlock()
	return n.fs.change(func() {
		if n.in.mode == syscall.S_IFREG || !n.fs.FoldersNotSynced {
			n.in.onDisk = n.in.now.clone()
		}
	})
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, _ := n.lock()
	defer unlock()
	if _, taken := n.in.now.entries[name]; taken {
		return nil, syscall.EEXIST
	}
	in := target.(*node).in
	if errno := n.fs.change(func() {
		n.in.now.entries[name] = in
		in.links++
	}); errno != 0 {
		return nil, errno
	}
	return n.known(ctx, in, out), 0
}

func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	unlock, _ := n.lock()
	defer unlock()
	from, to := n.in.now.entries, newParent.(*node).in.now.entries
	in, old := from[name], to[newName]
	switch {
	case flags&^unix.RENAME_NOREPLACE != 0:
		return syscall.EINVAL
	case in == nil:
		return syscall.ENOENT
	case flags&unix.RENAME_NOREPLACE != 0 && old != nil:
		return syscall.EEXIST
	case in == old: // two names of one file: rename(2) does nothing
		return 0
	}
	return n.fs.change(func() {
		if old != nil {
			old.links--
		}
		to[newName] = in
		delete(from, name)
	})
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	unlock, _ := n.lock()
	defer unlock()
	in, ok := n.in.now.entries[name]
	if !ok {
		return syscall.ENOENT
	}
	return n.fs.change(func() {
		in.links--
		delete(n.in.now.entries, name)
	})
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	n.fs.mu.Lock()
	in, ok := n.in.now.entries[name]
	full := ok && len(in.now.entries) > 0
	n.fs.mu.Unlock()
	if full {
		return syscall.ENOTEMPTY
	}
	return n.Unlink(ctx, name)
}
