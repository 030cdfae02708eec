package snapshotter_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/lockfile"
	"github.com/laminastore/lamina/snapshotter"
)

// listenOn runs the service for as long as it takes to find out whether it can
// have the socket.
func listenOn(t *testing.T, socket string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it ends as soon as it has begun
	return snapshotter.Run(ctx, snapshotter.Config{Snapshots: stuck{}, Socket: socket, Log: quiet})
}

func TestTheSocketIsForItsOwnerOnly(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	dir := tempDir(t)
	socket := filepath.Join(dir, "run", "sn.sock")
	stop := serve(snapshotter.Config{Snapshots: endless{}, Socket: socket, Log: quiet})
	_ = client(t, socket).Close()
	waitForSocket(t, socket)
	for path, want := range map[string]os.FileMode{
		socket:               os.ModeSocket | 0o600,
		filepath.Dir(socket): os.ModeDir | 0o711,
		socket + ".lock":     0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func waitForSocket(t *testing.T, socket string) {
	t.Helper()
	conn := dial(t, socket)
	conn.Connect()
	for state := conn.GetState(); state.String() != "READY"; state = conn.GetState() {
		if !conn.WaitForStateChange(t.Context(), state) {
			t.Fatal("no connection")
		}
	}
}

func TestWhoHasASocketKeepsIt(t *testing.T) {
	dir := tempDir(t)

	t.Run("another snapshotter", func(t *testing.T) {
		socket := filepath.Join(dir, "a.sock")
		stop := serve(snapshotter.Config{Snapshots: endless{}, Socket: socket, Log: quiet})
		waitForSocket(t, socket)
		err := listenOn(t, socket)
		if !errors.Is(err, lockfile.ErrHeld) || !strings.Contains(err.Error(), "stop it, or choose another socket") {
			t.Errorf("got %v", err)
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatalf("the first one lost its socket: %v", err)
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("another program", func(t *testing.T) {
		socket := filepath.Join(dir, "b.sock")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := listenOn(t, socket); err == nil || !strings.Contains(err.Error(), "another program serves "+socket) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not a socket", func(t *testing.T) {
		path := filepath.Join(dir, "c.sock")
		if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := listenOn(t, path); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("got %v", err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("nobody: a dead process left it", func(t *testing.T) {
		socket := filepath.Join(dir, "d.sock")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
		if err := listenOn(t, socket); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestASocketPathTooLong(t *testing.T) {
	socket := filepath.Join(tempDir(t), strings.Repeat("x", 100), "sn.sock")
	if err := listenOn(t, socket); err == nil || !strings.Contains(err.Error(), "choose a shorter one") {
		t.Errorf("got %v", err)
	}
}
