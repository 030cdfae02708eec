package overlay

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Stat tells what is known of a snapshot.
func (s *Snapshotter) Stat(ctx context.Context, key string) (info snapshots.Info, err error) {
	if err := validKeys(key); err != nil {
		return snapshots.Info{}, err
	}
	err = s.meta.read(ctx, func(ctx context.Context) error {
		_, info, _, err = storage.GetInfo(ctx, key)
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", key, err)
		}
		return nil
	})
	return info, err
}

// Update changes labels: those that fieldpaths name ("labels.KEY"), or all of
// them. Nothing else of a snapshot can change.
func (s *Snapshotter) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (updated snapshots.Info, err error) {
	if err := validKeys(info.Name); err != nil {
		return snapshots.Info{}, err
	}
	err = s.meta.write(ctx, func(ctx context.Context) error {
		updated, err = storage.UpdateInfo(ctx, info, fieldpaths...)
		if err != nil {
			return fmt.Errorf("update snapshot %s: %w", info.Name, err)
		}
		updateBeforeSave.Hit()
		return nil
	}, func() {
		s.refs.set(updated.Name, updated.Labels[snapshots.LabelSnapshotRef])
		updateAfterSave.Hit()
	})
	return updated, err
}

// Usage is what a snapshot takes on disk by itself, without its parents. That
// of a committed one was measured by Commit; that of an active one is measured
// now. A view takes nothing.
func (s *Snapshotter) Usage(ctx context.Context, key string) (usage snapshots.Usage, err error) {
	if err := validKeys(key); err != nil {
		return snapshots.Usage{}, err
	}
	var id string
	var info snapshots.Info
	err = s.meta.read(ctx, func(ctx context.Context) error {
		id, info, usage, err = storage.GetInfo(ctx, key)
		return err
	})
	if err == nil && (info.Kind == snapshots.KindActive || usage == unmeasured) {
		usage, err = s.measure(ctx, id)
	}
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", key, err)
	}
	return usage, nil
}

// Mounts returns again what Prepare or View returned for this key. A committed
// snapshot has none: ErrFailedPrecondition.
func (s *Snapshotter) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	if err := validKeys(key); err != nil {
		return nil, err
	}
	var snap storage.Snapshot
	err := s.meta.read(ctx, func(ctx context.Context) (err error) {
		snap, err = storage.GetSnapshot(ctx, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mounts of snapshot %s: %w", key, err)
	}
	return s.mounts(snap), nil
}

// Walk calls fn with every snapshot that a filter matches, or with all. They
// are as they were at one moment; fn may call the Snapshotter.
func (s *Snapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	infos, err := s.list(ctx, filters)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(ctx, info); err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshotter) list(ctx context.Context, filters []string) (infos []snapshots.Info, err error) {
	if q, ok := parseRefFilter(filters); ok {
		found, err := s.named(ctx, s.refs.names(q.ref))
		for _, info := range found {
			if info.Labels[snapshots.LabelSnapshotRef] == q.ref && (q.anyParent || info.Parent == q.parent) {
				infos = append(infos, info)
			}
		}
		return infos, err
	}
	err = s.meta.read(ctx, func(ctx context.Context) error {
		return orEmpty(storage.WalkInfo(ctx, func(ctx context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return ctx.Err()
		}, filters...))
	})
	return infos, err
}

// named returns those of these snapshots that are there.
func (s *Snapshotter) named(ctx context.Context, names []string) (infos []snapshots.Info, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	err = s.meta.read(ctx, func(ctx context.Context) error {
		for _, name := range names {
			_, info, _, err := storage.GetInfo(ctx, name)
			if errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			infos = append(infos, info)
		}
		return nil
	})
	return infos, err
}
