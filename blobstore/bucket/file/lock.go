package file

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Locks are taken on keys and on uploads, each on one of so many stripes.
// Whoever needs both takes the upload's first.
const (
	keyStripes    = 256
	uploadStripes = 256
	stripes       = keyStripes + uploadStripes
)

func keyStripe(key string) int   { return int(sum(key) % keyStripes) }
func uploadStripe(id string) int { return keyStripes + int(sum(id)%uploadStripes) }

func sum(s string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, s) // never fails
	return h.Sum32()
}

// locks are the stripes, on a file with a byte for each. A process holds a
// stripe by an open-file-description lock on its byte, which the kernel gives
// back when the process dies.
//
// The byte itself says, when it is 1, that names on this stripe are changing
// and the change is not known to be on disk: so it is set before a name
// changes and cleared after the folder was synced, both under the lock. If the
// process dies between the two it stays set, and the next to hold the stripe
// syncs the filesystem. (After a loss of power it says nothing, and does no
// harm.)
type locks struct {
	file *os.File
	root *os.File
	// An open-file-description lock does not tell apart the goroutines of one
	// process: turns does.
	turns [stripes]chan struct{}
}

func (b *Bucket) openLocks() (*locks, error) {
	f, err := b.openAt(lockFile, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	l := &locks{file: f, root: b.root}
	for i := range l.turns {
		l.turns[i] = make(chan struct{}, 1)
	}
	if err := l.allocate(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
}

// allocate gives the file its bytes, so that none of them needs space later,
// when there may be none.
func (l *locks) allocate() error {
	if err := l.fcntl(context.Background(), stripes); err != nil {
		return err
	}
	defer l.unlock(stripes)
	st, err := statFile(l.file)
	if err != nil || st.Size >= stripes {
		return err
	}
	_, err = l.file.WriteAt(make([]byte, stripes-st.Size), st.Size)
	return err
}

// lock takes a stripe. When the last to hold it died while a name changed,
// that change is on disk, or undone, when lock returns.
func (l *locks) lock(ctx context.Context, stripe int) error {
	select {
	case l.turns[stripe] <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.fcntl(ctx, stripe); err != nil {
		if !errors.Is(err, errAbandoned) {
			<-l.turns[stripe]
		}
		return err
	}
	unsettled, err := l.unsettled(stripe)
	if err == nil && unsettled {
		if err = unix.Syncfs(int(l.root.Fd())); err == nil {
			err = l.settle(stripe)
		}
	}
	if err != nil {
		l.unlock(stripe)
		<-l.turns[stripe]
		return fmt.Errorf("sync what a crashed process left: %w", err)
	}
	return nil
}

// release gives a stripe back.
func (l *locks) release(stripe int) {
	l.unlock(stripe)
	<-l.turns[stripe]
}

var errAbandoned = errors.New("the lock is still being waited for")

// fcntl locks the byte at a stripe. When another process has it and ctx ends
// first, it returns errAbandoned, and the turn is given back by the goroutine
// that it leaves waiting in the kernel, which nothing else can wake.
func (l *locks) fcntl(ctx context.Context, stripe int) error {
	fd := l.file.Fd()
	set := func(cmd int) error {
		for {
			lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(stripe), Len: 1}
			if err := unix.FcntlFlock(fd, cmd, &lk); err != unix.EINTR {
				return err
			}
		}
	}
	if err := set(unix.F_OFD_SETLK); err != unix.EAGAIN && err != unix.EACCES {
		return err
	}
	got := make(chan error, 1)
	go func() { got <- set(unix.F_OFD_SETLKW) }()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		go func() {
			if <-got == nil {
				l.unlock(stripe)
			}
			<-l.turns[stripe]
		}()
		return fmt.Errorf("%w (%w)", ctx.Err(), errAbandoned)
	}
}

// unlock cannot fail: it frees memory in the kernel.
func (l *locks) unlock(stripe int) {
	lk := unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: int64(stripe), Len: 1}
	_ = unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &lk)
}

// unsettle says that names on the stripe are about to change. It is held.
func (l *locks) unsettle(stripe int) error {
	_, err := l.file.WriteAt([]byte{1}, int64(stripe))
	return err
}

// settle says that all names on the stripe are on disk. It is held.
func (l *locks) settle(stripe int) error {
	_, err := l.file.WriteAt([]byte{0}, int64(stripe))
	return err
}

func (l *locks) unsettled(stripe int) (bool, error) {
	var flag [1]byte
	_, err := l.file.ReadAt(flag[:], int64(stripe))
	return flag[0] != 0, err
}

// wait returns when every name on the stripe that was there before the call is
// on disk. Readers call it after they have opened an object, or found none.
func (l *locks) wait(ctx context.Context, stripe int) error {
	unsettled, err := l.unsettled(stripe)
	if err != nil || !unsettled {
		return err
	}
	if err := l.lock(ctx, stripe); err != nil {
		return err
	}
	l.release(stripe)
	return nil
}
