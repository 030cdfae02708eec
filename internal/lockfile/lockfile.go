// Package lockfile lets one process at a time have something: a folder, a
// socket path. The kernel drops the lock when its holder dies, however it dies.
package lockfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process has the lock, or another Lock of this one.
var ErrHeld = errors.New("locked by another process")

// A Lock is held until Release, or until the process ends.
type Lock struct{ file *os.File }

// Take locks the file at path, which it makes when it is not there. It does not
// wait: when the lock is held, the error is ErrHeld and names the holder.
//
// The file stays after Release. To unlink it would let two processes hold locks
// on two files of one name.
func Take(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("%s: %w%s", path, ErrHeld, holder(file))
	}
	// For people who wonder who has it; the lock itself is the kernel's.
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	return &Lock{file}, nil
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.file.Close() }

func holder(file *os.File) string {
	pid, err := io.ReadAll(io.LimitReader(file, 20))
	if err != nil || len(pid) == 0 {
		return ""
	}
	return " (process " + strings.TrimSpace(string(pid)) + ")"
}
