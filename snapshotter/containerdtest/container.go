package containerdtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// A Container runs on a Host and waits for Exec.
type Container struct {
	containerd.Container
	host *Host
	task containerd.Task
	// execs names the processes of Exec.
	execs atomic.Int64
}

// Run makes a container with a writable layer of its own, whose snapshot has
// the container's ID as key, and starts it. It does nothing until Exec.
func (h *Host) Run(t testing.TB, id string, image containerd.Image) *Container {
	t.Helper()
	return h.RunOn(t, Snapshotter, id, image)
}

// RunOn is Run with a snapshotter of containerd's own.
func (h *Host) RunOn(t testing.TB, snapshotter, id string, image containerd.Image) *Container {
	t.Helper()
	c, err := h.Client.NewContainer(h.Context(), id,
		containerd.WithImage(image),
		containerd.WithSnapshotter(snapshotter),
		containerd.WithNewSnapshot(id, image),
		containerd.WithRuntime("io.containerd.runc.v2", &options.Options{Root: filepath.Join(h.dir, "runc")}),
		containerd.WithNewSpec(oci.WithImageConfigArgs(image, []string{"sleep", "1000000"})))
	if err != nil {
		t.Fatalf("create container %s: %v", id, err)
	}
	container := &Container{Container: c, host: h}
	container.Start(t)
	return container
}

// Start starts the container, after Stop.
func (c *Container) Start(t testing.TB) {
	t.Helper()
	task, err := c.NewTask(c.host.Context(), cio.NullIO)
	if err != nil {
		t.Fatalf("create task of %s: %v", c.ID(), err)
	}
	if err := task.Start(c.host.Context()); err != nil {
		t.Fatalf("start %s: %v", c.ID(), err)
	}
	c.task = task
}

// Pid is the process that the container consists of.
func (c *Container) Pid() int { return int(c.task.Pid()) }

// Exec runs a command in the container and returns what it prints. The test
// fails when the command does.
func (c *Container) Exec(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.TryExec(args...)
	if err != nil {
		t.Fatalf("in %s: %q: %v\n%s", c.ID(), args, err, out)
	}
	return out
}

// TryExec is Exec for a command that may fail.
func (c *Container) TryExec(args ...string) (string, error) {
	ctx := c.host.Context()
	spec, err := c.Spec(ctx)
	if err != nil {
		return "", err
	}
	process := *spec.Process
	process.Args, process.Terminal = args, false
	var out output
	exec, err := c.task.Exec(ctx, fmt.Sprint("exec-", c.execs.Add(1)), &process,
		cio.NewCreator(cio.WithStreams(strings.NewReader(""), &out, &out), cio.WithFIFODir(filepath.Join(c.host.dir, "fifo"))))
	if err != nil {
		return "", err
	}
	exited, err := exec.Wait(ctx)
	if err != nil {
		return "", err
	}
	if err := exec.Start(ctx); err != nil {
		return "", err
	}
	status := <-exited
	exec.IO().Wait()
	if _, err := exec.Delete(ctx); err != nil {
		return out.String(), err
	}
	if code, _, err := status.Result(); err != nil || code != 0 {
		return out.String(), fmt.Errorf("exit code %d, %v", code, err)
	}
	return out.String(), nil
}

// Stop ends the container's process. Its files stay.
func (c *Container) Stop(t testing.TB) {
	t.Helper()
	if _, err := c.task.Delete(c.host.Context(), containerd.WithProcessKill); err != nil {
		t.Fatalf("stop %s: %v", c.ID(), err)
	}
}

// Remove removes the container, which Stop has ended, and its writable layer.
func (c *Container) Remove(t testing.TB) {
	t.Helper()
	if err := c.Delete(c.host.Context(), containerd.WithSnapshotCleanup); err != nil {
		t.Fatalf("remove %s: %v", c.ID(), err)
	}
}
