package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Prepare makes an active snapshot on top of the committed snapshot parent, or
// on nothing when parent is empty, and returns the mounts to write to it.
//
// With the label containerd.io/snapshot.ref it asks for a layer to be unpacked.
// If that layer is here already, committed on the same parent, the answer is
// ErrAlreadyExists: containerd then looks it up with Walk and uses it, so that
// two of its namespaces share one copy of the layer.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var base snapshots.Info
	for _, opt := range opts {
		if err := opt(&base); err != nil {
			return nil, err
		}
	}
	if ref := base.Labels[snapshots.LabelSnapshotRef]; ref != "" {
		if name, err := s.committed(ctx, ref, parent); err != nil {
			return nil, err
		} else if name != "" {
			return nil, fmt.Errorf("layer %s is here, as snapshot %s: %w", ref, name, errdefs.ErrAlreadyExists)
		}
	}
	return s.create(ctx, snapshots.KindActive, key, parent, base.Labels)
}

// View makes a snapshot that shows parent and cannot be written to.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var base snapshots.Info
	for _, opt := range opts {
		if err := opt(&base); err != nil {
			return nil, err
		}
	}
	return s.create(ctx, snapshots.KindView, key, parent, base.Labels)
}

func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, labels map[string]string) ([]mount.Mount, error) {
	if err := validKeys(key); err != nil {
		return nil, err
	}
	var snap storage.Snapshot
	err := s.meta.write(ctx, func(ctx context.Context) (err error) {
		snap, err = storage.CreateSnapshot(ctx, kind, key, parent, snapshots.WithLabels(labels))
		if err != nil {
			return fmt.Errorf("prepare snapshot %s: %w", key, err)
		}
		prepareAfterRecord.Hit()
		if err := s.makeFolder(snap); err != nil {
			return fmt.Errorf("prepare snapshot %s: %w", key, err)
		}
		prepareBeforeSave.Hit()
		return nil
	}, func() {
		s.refs.set(key, labels[snapshots.LabelSnapshotRef])
		prepareAfterSave.Hit()
	})
	if err != nil {
		return nil, err
	}
	return s.mounts(snap), nil
}

// makeFolder makes the folder of a new snapshot, durably. When the transaction
// around it comes to nothing, the folder stays, named by nothing: the next
// snapshot gets the same ID and moves it out of the way here.
func (s *Snapshotter) makeFolder(snap storage.Snapshot) error {
	dir, fs, work := s.root.snapshot(snap.ID), s.root.fs(snap.ID), s.root.work(snap.ID)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		if err := s.trash.take(dir); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(fs, 0o755); err != nil {
		return err
	}
	if snap.Kind == snapshots.KindActive {
		if err := os.Mkdir(work, 0o700); err != nil {
			return err
		}
	}
	prepareAfterMkdir.Hit()
	if err := s.ownRoot(fs, snap.ParentIDs); err != nil {
		return err
	}
	// Inside out, so that no entry leads to something that is not there.
	for _, path := range []string{fs, dir, s.root.snapshots()} {
		if err := syncFolder(path); err != nil {
			return err
		}
	}
	return nil
}

// ownRoot gives the top folder of a layer its owner and mode. The top folder of
// an overlay is that of its upper layer, so it takes them from the layer below,
// or it would change with every layer.
func (s *Snapshotter) ownRoot(fs string, parents []string) error {
	mode, uid, gid := os.FileMode(0o755), 0, 0
	if len(parents) > 0 {
		below := s.root.fs(parents[0])
		info, err := os.Stat(below)
		if err != nil {
			return fmt.Errorf("the files of the parent are gone: %w", err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		mode, uid, gid = info.Mode(), int(stat.Uid), int(stat.Gid)
	}
	if err := os.Chown(fs, uid, gid); err != nil {
		return err
	}
	// After Chown, which drops setgid; and Mkdir's mode went through the umask.
	return os.Chmod(fs, mode)
}

// committed finds a layer by its snapshot.ref and parent. The name is empty
// when there is none.
func (s *Snapshotter) committed(ctx context.Context, ref, parent string) (name string, err error) {
	infos, err := s.named(ctx, s.refs.names(ref))
	if err != nil {
		return "", err
	}
	for _, info := range infos {
		if info.Kind == snapshots.KindCommitted && info.Parent == parent {
			return info.Name, nil
		}
	}
	return "", nil
}
