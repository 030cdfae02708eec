package containerdtest_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

var quiet = slog.New(slog.DiscardHandler)

// Whatever happens to containerd, a test leaves nothing behind.
func TestNothingIsLeftBehind(t *testing.T) {
	needs.Root(t)
	for name, end := range map[string]func(pid int) error{
		"in good order":       func(int) error { return nil },
		"containerd is gone":  func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"containerd is stuck": func(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			var socket string
			t.Run("test", func(t *testing.T) {
				host := containerdtest.Start(t, containerdtest.Options{Snapshotter: snapshots(t)})
				c := host.Run(t, "web", host.Import(t, containerdtest.Image{Name: "example.org/app:1"}))
				if got := c.Exec(t, "echo", "hello"); got != "hello\n" {
					t.Errorf("the container says %q", got)
				}
				if got := host.Ctr(t, "container", "ls", "-q"); got != "web\n" {
					t.Errorf("ctr says %q", got)
				}
				socket = host.Socket
				if err := end(host.Pid()); err != nil {
					t.Fatal(err)
				}
			})
			if socket == "" {
				t.SkipNow()
			}
			dir := filepath.Dir(socket)
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s: %v", dir, err)
			}
			for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/self/mountinfo"} {
				files, _ := filepath.Glob(pattern)
				for _, file := range files {
					if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), dir) {
						t.Errorf("%s: %.300q", file, text)
					}
				}
			}
			if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(dir)); len(groups) > 0 {
				t.Errorf("control groups %q", groups)
			}
		})
	}
}

// snapshots serves a snapshotter, and returns its socket.
func snapshots(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lamina-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sn, err := overlay.Open(overlay.Config{Root: filepath.Join(dir, "root"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	socket := filepath.Join(dir, "sock")
	go func() { done <- snapshotter.Run(ctx, snapshotter.Config{Snapshots: sn, Socket: socket, Log: quiet}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := sn.Close(); err != nil {
			t.Error(err)
		}
	})
	return socket
}
