package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"
)

// maxKey is the longest key that bbolt stores.
const maxKey = bolt.MaxKeySize

// metadata is containerd's store for snapshots, with writers that can give up.
type metadata struct {
	store *storage.MetaStore
	// gate admits one writer at a time. bbolt has a lock for that too, but
	// nobody who waits there can be called back.
	gate *semaphore.Weighted
}

func openMetadata(root folder) (*metadata, error) {
	path := root.metadata()
	if err := createDatabase(path); err != nil {
		return nil, err
	}
	if err := checkDatabase(path); err != nil {
		return nil, damaged(root, err)
	}
	store, err := storage.NewMetaStore(path, func(o *bolt.Options) error {
		// Others are kept away by the root's lock; never wait for one for ever.
		o.Timeout = lockTimeout
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &metadata{store: store, gate: semaphore.NewWeighted(1)}, nil
}

// createDatabase makes an empty bbolt file, unless there is a file: under its
// name there is never half of one.
func createDatabase(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	unnamed := path + ".new"
	if err := os.Remove(unnamed); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(unnamed, 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Rename(unnamed, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// damaged says what to do about metadata that cannot be read.
func damaged(root folder, err error) error {
	return fmt.Errorf("snapshot metadata %s cannot be used: %w; put a good copy of it in its place, or start over: "+
		"remove the containers and images of this snapshotter from containerd, move %s away, and pull again "+
		"(what containers wrote stays in %s/ID/fs)", root.metadata(), err, root, root.snapshots())
}

const lockTimeout = 5 * time.Second

// read runs fn in a transaction that sees one moment.
func (m *metadata) read(ctx context.Context, fn storage.TransactionCallback) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.store.WithTransaction(ctx, false, fn)
}

// write runs fn in a transaction that is saved, durably, when fn returns nil
// and time is left. Then it runs after, if there is one, and only then admits
// the next writer: what after does happens in the order of the transactions.
func (m *metadata) write(ctx context.Context, fn storage.TransactionCallback, after func()) error {
	return m.alone(ctx, func() error {
		err := m.store.WithTransaction(ctx, true, func(ctx context.Context) error {
			if err := fn(ctx); err != nil {
				return err
			}
			return ctx.Err()
		})
		if err == nil && after != nil {
			after()
		}
		return err
	})
}

// alone runs fn while nobody writes.
func (m *metadata) alone(ctx context.Context, fn func() error) error {
	if err := m.gate.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("waiting for other changes of snapshots: %w", err)
	}
	defer m.gate.Release(1)
	return fn()
}

func (m *metadata) Close() error { return m.store.Close() }

// ids maps every snapshot's ID to its name.
func (m *metadata) ids(ctx context.Context) (map[string]string, error) {
	var ids map[string]string
	err := m.read(ctx, func(ctx context.Context) (err error) {
		ids, err = storage.IDMap(ctx)
		return orEmpty(err)
	})
	return ids, err
}

// orEmpty is for what lists things: before the first snapshot there is no
// bucket to list, which storage reports as an error.
func orEmpty(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// validKeys turns down what bbolt cannot store, before anything is done. The
// keys are not repeated in the error, they may be very long.
func validKeys(keys ...string) error {
	for _, key := range keys {
		if key == "" {
			return fmt.Errorf("a snapshot's key cannot be empty: %w", errdefs.ErrInvalidArgument)
		}
		if len(key) > maxKey {
			return fmt.Errorf("a snapshot's key of %d bytes is too long, at most %d: %w", len(key), maxKey, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
