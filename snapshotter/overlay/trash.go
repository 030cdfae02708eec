package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/semaphore"
)

// The trash holds trees that are no longer anyone's until they are deleted.
// Deleting takes long, moving does not: so nobody waits for a deletion unless
// they ask for it, and a half-deleted tree is never taken for a snapshot.
type trash struct {
	dir  string
	log  *slog.Logger
	wake chan struct{}
	// turn is taken by the one who deletes.
	turn *semaphore.Weighted
}

func newTrash(dir string, log *slog.Logger) *trash {
	return &trash{dir: dir, log: log, wake: make(chan struct{}, 1), turn: semaphore.NewWeighted(1)}
}

// take moves a folder to the trash. One that is not there has been taken.
func (t *trash) take(path string) error {
	// IDs can come again, after a transaction that came to nothing.
	name := filepath.Base(path) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	err := os.Rename(path, filepath.Join(t.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// rouse has the trash emptied in the background.
func (t *trash) rouse() {
	select {
	case t.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// run empties the trash whenever it is roused, until the context ends.
func (t *trash) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		if err := t.empty(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("some removed snapshots are still on disk; the next clean-up tries again", "error", err)
		}
	}
}

// empty deletes what is in the trash. What cannot be deleted stays and is in
// the error, and the rest is deleted.
func (t *trash) empty(ctx context.Context) error {
	if err := t.turn.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("waiting for the trash to be emptied: %w", err)
	}
	defer t.turn.Release(1)
	entries, err := os.ReadDir(t.dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(t.dir))
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(t.dir, entry.Name())
		if mount := mountBelow(mounts, path); mount != "" {
			// Deleting would go on in whatever is mounted there.
			errs = append(errs, fmt.Errorf("not deleting %s: something is mounted on %s; unmount it", path, mount))
			continue
		}
		if err := deleteTree(ctx, path); err != nil {
			errs = append(errs, err)
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("deleting goes on in the background: %w", err))...)
		}
	}
	trashEmpty.Hit()
	return errors.Join(errs...)
}

func mountBelow(mounts []*mountinfo.Info, path string) string {
	for _, m := range mounts {
		if m.Mountpoint == path || strings.HasPrefix(m.Mountpoint, path+"/") {
			return m.Mountpoint
		}
	}
	return ""
}

// deleteTree deletes a snapshot's folder, and looks at the context between the
// top folders of the layer in it. The container may still be running and
// changing it: os.RemoveAll does not follow links that appear meanwhile.
func deleteTree(ctx context.Context, path string) error {
	fs := filepath.Join(path, "fs")
	entries, _ := os.ReadDir(fs) // what cannot be listed is left to RemoveAll
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(fs, entry.Name())); err != nil {
			return err
		}
		trashHalfEmpty.Hit()
	}
	return os.RemoveAll(path)
}
