// Package file is a bucket in a folder on disk: what one server, or several on
// one machine, store in when there is no S3.
//
// # What is in the folder
//
// An object is a plain file that holds exactly its bytes. The segments of its
// key are folders, the last one is the file, with "@" behind it: the object at
// "data/01J5" is the file data/01J5@. No key has an "@", so a file is never in
// the way of a folder. Files without it, and links, are not looked at.
// Folders stay when their last object goes.
//
// The folder .lamina belongs to this package: files that are being written
// (tmp), unfinished multipart uploads (multipart), the file on which processes
// lock (locks), and room for changes on a full disk (reserve). Nothing in it is needed to read the objects.
//
// # What is promised, and how
//
// A write goes to a temporary file, which is synced; only then does it get its
// name, by link(2) or rename(2), and the folder is synced, under a lock on the
// key that all processes on the folder respect. In that moment the condition
// and NotAfter are checked. So an object is there whole or not at all, also
// after a kill or a loss of power. A reader that meets an object whose name is
// not yet on disk waits until it is: what has been read is there after a loss
// of power too. Folders are synced from the first new one down.
//
// Network filesystems are refused: their locks and syncs keep less than that.
package file

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Names in the folder that are no keys: no segment of a key begins with a dot.
const (
	ownDir       = ".lamina"
	tempDir      = ownDir + "/tmp"
	multipartDir = ownDir + "/multipart"
	lockFile     = ownDir + "/locks"
)

// Options say how to open a folder.
type Options struct {
	// AllowNetwork opens a folder on a network filesystem too, whose locks,
	// links and syncs must then be as good as a local one's.
	AllowNetwork bool
}

// A Bucket is a folder. It must be made by Open.
type Bucket struct {
	dir   string
	root  *os.File // dir
	locks *locks
	room  reserve
	// folders that are known to be on disk; see parent.
	durable folderSet
}

var (
	_ bucket.Bucket             = (*Bucket)(nil)
	_ bucket.ConditionalDeleter = (*Bucket)(nil)
)

// Open opens the folder dir, which it makes if it is not there, and clears
// away what crashed processes left in it. Any number of processes may have it
// open at once.
func Open(dir string, opts Options) (*Bucket, error) {
	b, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open bucket in folder %s: %w", dir, err)
	}
	return b, nil
}

func open(dir string, opts Options) (_ *Bucket, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeDurable(dir); err != nil {
		return nil, err
	}
	b := &Bucket{dir: dir}
	defer func() {
		if err != nil {
			_ = b.Close()
		}
	}()
	if b.root, err = os.Open(dir); err != nil {
		return nil, err
	}
	if !opts.AllowNetwork {
		if err := refuseNetwork(b.root); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{tempDir, multipartDir} {
		f, err := b.makeFolder(d)
		if err != nil {
			return nil, err
		}
		_ = f.Close()
	}
	if b.locks, err = b.openLocks(); err != nil {
		return nil, err
	}
	b.clearTemp(time.Now())
	b.clearUploads(time.Now())
	b.fillReserve()
	return b, nil
}

// Close lets go of the folder. Calls that are under way may fail.
func (b *Bucket) Close() error {
	var errs []error
	if b.locks != nil {
		errs = append(errs, b.locks.file.Close())
	}
	if b.root != nil {
		errs = append(errs, b.root.Close())
	}
	return errors.Join(errs...)
}

// Features implements bucket.Bucket.
func (b *Bucket) Features() bucket.Features {
	return bucket.Features{MinPart: 1, MaxParts: maxParts, RefusesLateWrites: true}
}

// Clock implements bucket.Bucket.
func (b *Bucket) Clock(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, fmt.Errorf("clock: %w", err)
	}
	return time.Now().UTC().Truncate(time.Second), nil
}

// String implements bucket.Bucket.
func (b *Bucket) String() string {
	return (&url.URL{Scheme: "file", Path: b.dir}).String()
}

// check is what every call on a key begins with.
func check(ctx context.Context, op, key string) error {
	if err := bucket.CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	return nil
}

// fail wraps an error with the operation and the key, and gives errors of the
// operating system their class.
func (b *Bucket) fail(op, key string, err error) error {
	return fmt.Errorf("%s %s in %s: %w", op, key, b.dir, classify(err))
}

func classify(err error) error {
	var errno unix.Errno
	switch {
	case !errors.As(err, &errno), errors.Is(err, bucket.ErrUnavailable):
		return err
	case errno == unix.ENOSPC || errno == unix.EDQUOT:
		return fmt.Errorf("%w: %w", bucket.ErrFull, err)
	default:
		return fmt.Errorf("%w: %w", bucket.ErrUnavailable, err)
	}
}
