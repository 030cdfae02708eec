package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/failpoint"
	"github.com/laminastore/lamina/internal/lockfile"
)

// maxSocketPath is what fits in sockaddr_un, less its closing zero (unix(7)).
const maxSocketPath = 107

var (
	socketAfterStale = failpoint.New("socket-after-stale")
	socketAfterBind  = failpoint.New("socket-after-bind")
)

// A socket is a listener that no other process can take the path of.
type socket struct {
	*net.UnixListener
	lock *lockfile.Lock
}

// listen binds a unix socket that only its owner may connect to. One that a
// dead process left is replaced; one that is served is an error.
func listen(ctx context.Context, path string) (_ *socket, err error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path %s has %d bytes, and the kernel takes %d; choose a shorter one", path, len(path), maxSocketPath)
	}
	// Others may pass through to sockets of their own, not look around.
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	lock, err := lockfile.Take(path + ".lock")
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("%w; a snapshotter serves %s already: stop it, or choose another socket", err, path)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Release())
		}
	}()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	socketAfterStale.Hit()
	config := net.ListenConfig{Control: ownerOnly}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	socketAfterBind.Hit()
	return &socket{listener.(*net.UnixListener), lock}, nil
}

// Close removes the socket and lets others have the path.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) { // by the server
		err = nil
	}
	return errors.Join(err, s.lock.Release())
}

// removeStale makes way for a new socket. Whoever made the old one does not hold
// the lock, but it may be a program that knows of no lock.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and not a socket; choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another program serves %s; stop it, or choose another socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is in the way, and may be in use: %w", path, err)
	}
	return os.Remove(path)
}

// ownerOnly makes the file 0600 from the start: bind(2) takes the mode from the
// socket's inode (net/unix/af_unix.c, unix_bind_bsd), so that there is no moment
// at which others could connect.
func ownerOnly(_, _ string, conn syscall.RawConn) error {
	var err error
	if ctl := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); ctl != nil {
		return ctl
	}
	return err
}
