package overlay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// Commit makes the active snapshot key a committed one, called name. Its files
// stay where they are.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	if err := validKeys(name, key); err != nil {
		return err
	}
	var base snapshots.Info
	for _, opt := range opts {
		if err := opt(&base); err != nil {
			return err
		}
	}
	id, err := s.active(ctx, key)
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", key, err)
	}
	usage, err := s.settle(ctx, id)
	if err != nil {
		return fmt.Errorf("commit snapshot %s: %w", key, err)
	}
	commitAfterSettle.Hit()
	return s.meta.write(ctx, func(ctx context.Context) error {
		committed, err := storage.CommitActive(ctx, key, name, usage, opts...)
		if err != nil {
			return fmt.Errorf("commit snapshot %s: %w", key, err)
		}
		if committed != id {
			return fmt.Errorf("commit snapshot %s: it was removed and prepared again meanwhile: %w", key, errdefs.ErrFailedPrecondition)
		}
		commitBeforeSave.Hit()
		return nil
	}, func() {
		s.refs.set(key, "")
		s.refs.set(name, base.Labels[snapshots.LabelSnapshotRef])
		commitAfterSave.Hit()
	})
}

// active returns the ID of an active snapshot.
func (s *Snapshotter) active(ctx context.Context, key string) (id string, err error) {
	err = s.meta.read(ctx, func(ctx context.Context) error {
		var info snapshots.Info
		id, info, _, err = storage.GetInfo(ctx, key)
		if err != nil {
			return err
		}
		if info.Kind != snapshots.KindActive {
			return fmt.Errorf("it is not active: %w", errdefs.ErrFailedPrecondition)
		}
		return nil
	})
	return id, err
}

// settle flushes a layer to disk and then measures it; before, the filesystem
// may not yet know what it takes.
//
// containerd has a write transaction open while it waits for Commit, and how
// long a flush takes depends on what else the host writes. So each gets a third
// of the time there is: after that a layer is committed with the flush still
// going on, which is logged, or with its size unmeasured. An error of the disk
// is an error of Commit.
func (s *Snapshotter) settle(ctx context.Context, id string) (snapshots.Usage, error) {
	third := func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	if deadline, ok := ctx.Deadline(); ok {
		limit := time.Until(deadline) / 3
		third = func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, limit) }
	}
	outOfTime := func(err error) bool { return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil }

	flushing, cancel := third()
	defer cancel()
	if err := s.flush(flushing); outOfTime(err) {
		s.log.Warn("committing a layer before it is flushed to disk, which is too slow; after a loss of power now, pull its image again",
			"layer", s.root.fs(id))
	} else if err != nil {
		return snapshots.Usage{}, err
	}
	measuring, cancel := third()
	defer cancel()
	usage, err := s.measure(measuring, id)
	if outOfTime(err) {
		return unmeasured, nil
	}
	return usage, err
}

// flush waits for a flush of the disk, which cannot be called back, until the
// context ends.
func (s *Snapshotter) flush(ctx context.Context) error {
	flushed := make(chan error, 1)
	s.background.Go(func() { flushed <- s.root.syncAll() })
	select {
	case err := <-flushed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
