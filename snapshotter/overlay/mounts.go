package overlay

import (
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// overlayOptions go with every overlay that is handed out, and are tried by the
// probe. An upper folder may be captured and carried to another host, so
// nothing in it may point into the layers below or depend on their inodes; and
// no xattr that came with an image may redirect a lookup.
//
// Not "volatile": such a mount cannot be made a second time, and containers are
// restarted.
var overlayOptions = []string{"index=off", "metacopy=off", "redirect_dir=nofollow"}

// mounts says how a snapshot is mounted. overlayfs needs two folders, so what
// consists of one is bound.
func (s *Snapshotter) mounts(snap storage.Snapshot) []mount.Mount {
	switch {
	case snap.Kind == snapshots.KindActive && len(snap.ParentIDs) == 0:
		return bind(s.root.fs(snap.ID), "rw")
	case snap.Kind == snapshots.KindActive:
		return overlay(
			"workdir="+s.root.work(snap.ID),
			"upperdir="+s.root.fs(snap.ID),
			s.lowerdir(snap.ParentIDs))
	default:
		return s.readOnly(snap.ID, snap.ParentIDs)
	}
}

// readOnly says how to look at a stack of layers, the top one first. With no
// layers at all there is the empty folder of the view itself.
func (s *Snapshotter) readOnly(id string, layers []string) []mount.Mount {
	switch len(layers) {
	case 0:
		return bind(s.root.fs(id), "ro")
	case 1:
		return bind(s.root.fs(layers[0]), "ro")
	default:
		return overlay(s.lowerdir(layers))
	}
}

func (s *Snapshotter) lowerdir(ids []string) string {
	paths := make([]string, len(ids))
	for i, id := range ids {
		paths[i] = s.root.fs(id)
	}
	return "lowerdir=" + strings.Join(paths, ":")
}

func bind(path, access string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: path, Options: []string{access, "rbind"}}}
}

func overlay(options ...string) []mount.Mount {
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: append(options, overlayOptions...)}}
}
