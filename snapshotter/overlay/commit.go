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

// settle flushes a layer to disk and measures it, at the same time.
//
// containerd has a write transaction open while it waits for Commit, and how
// long a flush takes depends on what else the host writes. So each gets half of
// the time there is: after that a layer is committed with its size unmeasured,
// or with the flush still going on, which then is logged. An error of the disk
// is an error of Commit.
func (s *Snapshotter) settle(ctx context.Context, id string) (snapshots.Usage, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	flushed := make(chan error, 1)
	s.background.Go(func() { flushed <- s.root.syncAll() })
	usage, err := diskUsage(ctx, s.root.fs(id))
	if errors.Is(err, context.DeadlineExceeded) {
		usage = unmeasured
	} else if err != nil {
		return snapshots.Usage{}, err
	}
	select {
	case err := <-flushed:
		return usage, err
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return snapshots.Usage{}, ctx.Err()
		}
		s.log.Warn("committing a layer before it is flushed to disk: the disk is too slow; after a loss of power now, pull its image again",
			"layer", s.root.fs(id))
		return usage, nil
	}
}
