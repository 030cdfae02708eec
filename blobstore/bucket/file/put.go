package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/internal/exact"
	"github.com/laminastore/lamina/internal/failpoint"
)

// Steps at which a test kills the process.
var (
	beforePublish = failpoint.New("file-before-publish")
	beforeChange  = failpoint.New("file-before-change")
	beforeSync    = failpoint.New("file-before-sync")
	beforeSettle  = failpoint.New("file-before-settle")
)

// Put implements bucket.Writer.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := check(ctx, "put", key); err != nil {
		return bucket.Info{}, err
	}
	var info bucket.Info
	var err error
	if cond.IfMatch == "" {
		err = b.roomForNew()
	}
	if err == nil {
		info, err = b.put(ctx, key, r, size, cond)
	}
	if isFull(err) && cond.IfMatch != "" && size <= reservedFor {
		info, err = b.putFromReserve(ctx, key, r, size, cond)
	}
	if err != nil {
		return bucket.Info{}, b.fail("put", key, err)
	}
	return info, nil
}

func (b *Bucket) put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	// What is refused now is refused before anything is written. It is
	// checked again in the moment that counts.
	if err := b.holds(key, cond); err != nil {
		if err := b.locks.wait(ctx, keyStripe(key)); err != nil {
			return bucket.Info{}, err
		}
		return bucket.Info{}, err
	}
	f, err := b.newTemp()
	if err != nil {
		return bucket.Info{}, err
	}
	defer b.dropTemp(f)
	dir := b.parentAhead(key)
	defer dir.wait()
	info := bucket.Info{Key: key, Size: size}
	if size <= small {
		data := bytes.NewBuffer(make([]byte, 0, size))
		if err := exact.Copy(ctx, data, r, size); err != nil {
			return bucket.Info{}, err
		}
		info.ETag = smallETag(data.Bytes())
		_, err = f.Write(data.Bytes())
	} else {
		err = exact.Copy(ctx, pour(f, 0), r, size)
	}
	if err != nil {
		return bucket.Info{}, err
	}
	st, err := finish(f)
	if err != nil {
		return bucket.Info{}, err
	}
	info.Modified = time.Unix(st.Mtim.Unix()).UTC()
	if size > small {
		info.ETag = largeETag(st)
	}
	if err := b.publish(ctx, key, f.Name(), cond, dir); err != nil {
		return bucket.Info{}, err
	}
	return info, nil
}

// finish stamps a file that is written with the exact time, which the kernel
// would round to some milliseconds, and syncs it.
func finish(f *os.File) (unix.Stat_t, error) {
	ts := unix.NsecToTimespec(time.Now().UnixNano())
	if err := unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH); err != nil {
		return unix.Stat_t{}, &os.PathError{Op: "stamp", Path: f.Name(), Err: err}
	}
	if err := f.Sync(); err != nil {
		return unix.Stat_t{}, err
	}
	return statFile(f)
}

// publish gives the synced file at path from the key's name if cond holds, and
// returns when that is on disk. The file may keep the name that it had. folder
// is the key's.
func (b *Bucket) publish(ctx context.Context, key, from string, cond bucket.Condition, folder *comingFolder) error {
	beforePublish.Hit()
	dir, err := folder.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	stripe := keyStripe(key)
	if err := b.locks.lock(ctx, stripe); err != nil {
		return err
	}
	defer b.locks.release(stripe)
	if err := b.holds(key, cond); err != nil {
		return err
	}
	return b.change(dir, []int{stripe}, func() error {
		_, name := split(key)
		root, to := int(b.root.Fd()), int(dir.Fd())
		if !cond.IfAbsent {
			return os.NewSyscallError("rename", unix.Renameat(root, from, to, name))
		}
		// A link never replaces, even if someone does not respect our locks.
		err := unix.Linkat(root, from, to, name, 0)
		if err == unix.EEXIST {
			return bucket.ErrPrecondition
		}
		return os.NewSyscallError("link", err)
	})
}

// change lets f change names in the folder dir, on stripes that are held, and
// puts the change on disk. When that fails the stripes stay unsettled, and
// the next to come tries again.
func (b *Bucket) change(dir *os.File, held []int, f func() error) error {
	for _, s := range held {
		// On a full copy-on-write filesystem even this byte may find no room.
		// To delete is the way out then.
		if err := b.locks.unsettle(s); err != nil && !errors.Is(err, unix.ENOSPC) {
			return err
		}
	}
	beforeChange.Hit()
	failed := f()
	beforeSync.Hit()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("%w: %w", bucket.ErrUnavailable, err)
	}
	beforeSettle.Hit()
	for _, s := range held {
		if err := b.locks.settle(s); err != nil {
			return fmt.Errorf("%w: %w", bucket.ErrUnavailable, err)
		}
	}
	return failed
}

// holds returns ErrPrecondition or ErrTooLate when cond does not hold now.
func (b *Bucket) holds(key string, cond bucket.Condition) error {
	if cond.IfAbsent || cond.IfMatch != "" {
		info, err := b.stat(key)
		if err != nil && !errors.Is(err, bucket.ErrNotExist) {
			return err
		}
		if !cond.Holds(err == nil, info.ETag) {
			return bucket.ErrPrecondition
		}
	}
	// Round(0): compare by the wall clock.
	if !cond.NotAfter.IsZero() && time.Now().Round(0).After(cond.NotAfter) {
		return fmt.Errorf("%w of %s", bucket.ErrTooLate, cond.NotAfter.UTC())
	}
	return nil
}
