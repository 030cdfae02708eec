package file

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A full disk must not stop what gives its room back: to delete an image, to
// collect what nothing names and to renew a promise are changes of small
// objects, and a change needs room for the new object before that of the old
// one is free. So the folder keeps a file that holds room for that. On a full
// disk it is given up while an object is changed, and nothing new is written
// until it is whole again.
//
// It is a help and no promise: where the filesystem cannot reserve room, or
// another program takes what was given up, changes fail like everything else.
const (
	reserveFile = ownDir + "/reserve"
	mostReserve = 4 << 20 // bytes
	// reservedFor is the largest object in bytes that is changed at the cost of
	// the reserve: the record of a blob that is kept inside it has 90 KiB.
	reservedFor = 128 << 10
	// Others who are writing take what was given up, and fail soon: then there is
	// room.
	reserveTries = 20
	reservePause = 25 * time.Millisecond
)

// A reserve is room on the disk.
type reserve struct {
	spent atomic.Bool // by this process
}

// reserveSize is a 64th of a small disk.
func (b *Bucket) reserveSize() int64 {
	var st unix.Statfs_t
	if unix.Fstatfs(int(b.root.Fd()), &st) != nil {
		return 0
	}
	return min(mostReserve, int64(st.Blocks)*st.Bsize/64)
}

// fillReserve takes room for the reserve, if there is any, and says whether it is
// whole, or cannot be had on this filesystem.
func (b *Bucket) fillReserve() bool {
	f, err := b.openAt(reserveFile, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return false
	}
	defer f.Close()
	for {
		err = unix.Fallocate(int(f.Fd()), 0, 0, b.reserveSize())
		if err != unix.EINTR {
			break
		}
	}
	whole := !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT)
	if whole {
		b.room.spent.Store(false)
	}
	return whole
}

// spendReserve gives the reserve up.
func (b *Bucket) spendReserve() {
	b.room.spent.Store(true)
	if f, err := b.openAt(reserveFile, unix.O_RDWR); err == nil {
		_ = f.Truncate(0)
		_ = f.Close()
	}
}

// roomForNew fails as on a full disk while the reserve is not whole.
func (b *Bucket) roomForNew() error {
	if b.room.spent.Load() && !b.fillReserve() {
		return unix.ENOSPC
	}
	return nil
}

// putFromReserve replaces a small object on a disk that is full.
func (b *Bucket) putFromReserve(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (info bucket.Info, err error) {
	defer b.fillReserve()
	for range reserveTries {
		b.spendReserve()
		info, err = b.put(ctx, key, r, size, cond)
		if !isFull(err) {
			return info, err
		}
		t := time.NewTimer(reservePause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return info, ctx.Err()
		}
	}
	return info, err
}

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
