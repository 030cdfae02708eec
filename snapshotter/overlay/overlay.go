package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/laminastore/lamina/internal/lockfile"
)

// Config says where a Snapshotter lives.
type Config struct {
	// Root is the folder for everything; it is made when it is not there. It has
	// to be on a filesystem that overlayfs can write to, such as ext4 or xfs.
	Root string
	// Log is told what went wrong in the background. Nil means slog.Default().
	Log *slog.Logger
}

// A Snapshotter implements containerd's snapshots.Snapshotter and
// snapshots.Cleaner, with keys and names as containerd's metadata gives them
// (see ParseName). Its methods may be called from several goroutines at once.
//
// Errors are of the classes of errdefs: ErrNotFound, ErrAlreadyExists,
// ErrInvalidArgument, ErrFailedPrecondition (a parent that still has children,
// a commit of what is not active).
type Snapshotter struct {
	root  folder
	meta  *metadata
	refs  *refs
	pins  *pins
	trash *trash
	log   *slog.Logger
	lock  *lockfile.Lock

	// background is what outlives a call: the emptying of the trash, a flush
	// that took longer than its Commit would wait.
	background sync.WaitGroup
	stop       context.CancelFunc
	closing    sync.Once
}

var (
	_ snapshots.Snapshotter = (*Snapshotter)(nil)
	_ snapshots.Cleaner     = (*Snapshotter)(nil)
)

// Open takes the root over: it locks it, tries whether overlayfs works there,
// checks the metadata, and moves to the trash what a crash may have left. The
// caller closes the Snapshotter.
//
// Mounts that were handed out before, by this process or one that died, go on
// working and belong to snapshots as before.
func Open(cfg Config) (_ *Snapshotter, err error) {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	root, err := makeRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	lock, err := lockfile.Take(root.lock())
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("%w; two snapshotters cannot share a root: stop the other one, or give this one a root of its own", err)
	}
	if err != nil {
		return nil, err
	}
	openAfterLock.Hit()

	ctx, stop := context.WithCancel(context.Background())
	s := &Snapshotter{root: root, log: log, lock: lock, stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.trash = newTrash(root.trash(), log)
	s.pins = newPins()
	if err := probe(root, log); err != nil {
		return nil, err
	}
	openAfterProbe.Hit()
	if s.meta, err = openMetadata(root); err != nil {
		return nil, err
	}
	if s.refs, err = loadRefs(ctx, s.meta); err != nil {
		return nil, damaged(root, err)
	}
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	openAfterRecovery.Hit()
	s.background.Go(func() { s.trash.run(ctx) })
	s.trash.rouse()
	return s, nil
}

// Close waits for what runs in the background and gives the root up. What is in
// the trash by then is deleted after the next Open. Closing twice is fine.
func (s *Snapshotter) Close() (err error) {
	s.closing.Do(func() {
		s.stop()
		s.background.Wait()
		if s.meta != nil {
			err = s.meta.Close()
		}
		err = errors.Join(err, s.lock.Release())
	})
	return err
}
