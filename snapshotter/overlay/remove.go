package overlay

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// Remove forgets a snapshot. Its key can be used again at once, and its files
// are deleted in the background. A snapshot with children, or views on it, is
// not removed: ErrFailedPrecondition.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	if err := validKeys(key); err != nil {
		return err
	}
	var id string
	return s.meta.write(ctx, func(ctx context.Context) (err error) {
		id, _, err = storage.Remove(ctx, key)
		if err != nil {
			return fmt.Errorf("remove snapshot %s: %w", key, err)
		}
		removeBeforeSave.Hit()
		return nil
	}, func() {
		s.refs.set(key, "")
		removeAfterSave.Hit()
		if s.pins.removed(id) {
			return // the last one who unpins it discards it
		}
		s.discard(id)
	})
}

// discard moves the folder of a snapshot that the metadata has forgotten to the
// trash. When that fails, Cleanup finds it later.
func (s *Snapshotter) discard(id string) {
	if err := s.trash.take(s.root.snapshot(id)); err != nil {
		s.log.Warn("a removed snapshot is still on disk; the next clean-up tries again", "error", err)
		return
	}
	removeAfterRename.Hit()
	s.trash.rouse()
}

// Cleanup deletes what was removed, and folders that no snapshot owns, and
// returns when that is done or the context ends. What cannot be deleted is in
// the error and stays for the next time.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	err := s.meta.alone(ctx, func() error {
		ids, err := s.meta.ids(ctx)
		if err != nil {
			return err
		}
		return s.discardOrphans(ids)
	})
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	cleanupAfterOrphans.Hit()
	if err := s.trash.empty(ctx); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// discardOrphans moves to the trash every folder that is not of one of these
// snapshots. Nobody may be writing metadata meanwhile.
func (s *Snapshotter) discardOrphans(ids map[string]string) error {
	entries, err := os.ReadDir(s.root.snapshots())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, ok := ids[entry.Name()]; ok || s.pins.held(entry.Name()) {
			continue
		}
		if err := s.trash.take(s.root.snapshot(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// recover brings folders and metadata together after a crash.
func (s *Snapshotter) recover(ctx context.Context) error {
	ids, err := s.meta.ids(ctx)
	if err != nil {
		return err
	}
	if err := s.discardOrphans(ids); err != nil {
		return err
	}
	for id, name := range ids {
		// No crash does this, only someone's hand, or a disk that lies. The
		// others are fine, so it is no reason not to start.
		if _, err := os.Stat(s.root.fs(id)); err != nil {
			s.log.Error("the files of a snapshot are gone; remove its image or container and pull again", "snapshot", name, "error", err)
		}
	}
	return nil
}
