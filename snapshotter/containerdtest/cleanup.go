package containerdtest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cleanUp leaves nothing behind, whatever state the test left things in.
func (h *Host) cleanUp(t testing.TB) {
	t.Helper()
	if t.Failed() {
		t.Logf("containerd said:\n%s", h.log)
	}
	if h.Client != nil && h.cmd != nil {
		if err := h.removeContainers(t); err != nil {
			t.Logf("clean up: %v", err)
			_ = h.cmd.Process.Kill() // it does not answer
		}
		_ = h.Client.Close()
	}
	h.stop()
	// Only those that containerd could not end.
	h.killShims(t)
	h.unmountAll(t)
	h.removeCgroups(t)
	// Where runc keeps what ctr runs, whichever containerd it talks to.
	others, _ := filepath.Glob("/run/containerd/runc/" + h.Namespace + "*")
	for _, dir := range append(others, h.dir) {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	}
}

// removeContainers removes the containers of all namespaces.
func (h *Host) removeContainers(t testing.TB) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
	defer cancel()
	all, err := h.Client.NamespaceService().List(ctx)
	if err != nil {
		return err
	}
	for _, namespace := range all {
		ctx := namespaces.WithNamespace(ctx, namespace)
		containers, err := h.Client.Containers(ctx)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if task, err := c.Task(ctx, nil); err == nil {
				if _, err := task.Delete(ctx, containerd.WithProcessKill); err != nil {
					t.Logf("clean up: task of %s: %v", c.ID(), err)
				}
			}
			// The snapshot goes with the folders; its snapshotter may be down by now.
			if err := c.Delete(ctx); err != nil {
				t.Logf("clean up: container %s: %v", c.ID(), err)
			}
		}
	}
	return ctx.Err()
}

// killShims ends the shims of this containerd, which they name in their
// arguments, and what runs in its control groups.
func (h *Host) killShims(t testing.TB) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		cmdline, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(cmdline), "\x00")
		if filepath.Base(args[0]) == "containerd-shim-runc-v2" && slices.Contains(args, h.Socket) {
			h.kill(t, filepath.Base(filepath.Dir(file)))
		}
	}
	for _, dir := range h.cgroups() {
		pids, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range bytes.FieldsSeq(pids) {
			h.kill(t, string(pid))
		}
	}
}

// kill ends a process and waits until it is gone.
func (h *Host) kill(t testing.TB, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil || n < 2 {
		t.Errorf("clean up: %q is no process", pid)
		return
	}
	fd, err := unix.PidfdOpen(n, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd)
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, int((5 * time.Second).Milliseconds())); err != nil && !errors.Is(err, syscall.EINTR) {
		t.Logf("clean up: waiting for process %d: %v", n, err)
	}
}

func (h *Host) unmountAll(t testing.TB) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(h.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil {
			t.Errorf("clean up: unmount %s: %v", m.Mountpoint, err)
		}
	}
}

// cgroups are the control groups of the Host's own namespaces, which runc names
// them for, the innermost first.
func (h *Host) cgroups() (dirs []string) {
	const root = "/sys/fs/cgroup"
	tops, _ := filepath.Glob(filepath.Join(root, h.Namespace+"*")) // version 2
	perController, _ := filepath.Glob(filepath.Join(root, "*", h.Namespace+"*"))
	for _, top := range append(tops, perController...) {
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	slices.Reverse(dirs)
	return dirs
}

func (h *Host) removeCgroups(t testing.TB) {
	t.Helper()
	for _, dir := range h.cgroups() {
		// Processes that have just been killed are in it a moment longer.
		err := os.Remove(dir)
		for start := time.Now(); errors.Is(err, syscall.EBUSY) && time.Since(start) < 5*time.Second; err = os.Remove(dir) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("clean up: %v", err)
		}
	}
}
