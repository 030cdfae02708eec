package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"google.golang.org/grpc"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/internal/failpoint"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
	"github.com/laminastore/lamina/snapshotter/node"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// This program is also the snapshotter that a test kills.
const serviceEnv = "LAMINA_E2E_SERVICE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serviceEnv); dir != "" {
		if err := service(dir, os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func service(dir, runtime, server string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	root := filepath.Join(dir, "root")
	sn, err := overlay.Open(overlay.Config{Root: root, Log: log})
	if err != nil {
		return err
	}
	defer sn.Close()
	agent, err := node.New(node.Config{Containerd: runtime, Snapshots: sn, Root: root, Server: server, Log: log})
	if err != nil {
		return err
	}
	defer agent.Close()
	c, err := client.Dial(server, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	reported := make(chan struct{})
	go func() { agent.Report(ctx, c.Report); close(reported) }()
	defer func() { stop(); <-reported }()
	return snapshotter.Run(ctx, snapshotter.Config{
		Snapshots: sn, Socket: filepath.Join(dir, "sock"), Log: log,
		Register: []func(*grpc.Server){agent.Register}, Deadlines: node.Deadlines,
	})
}

// startService starts the snapshotter in a process of its own, and returns how
// to wait for its end.
func startService(t *testing.T, dir, runtime, server, failpoint string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, runtime, server)
	cmd.Env = append(os.Environ(), serviceEnv+"="+dir, "LAMINA_FAILPOINT="+failpoint)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	})
	return cmd
}

// Wherever the snapshotter dies during a commit: the container does not stand
// still for ever, no tag names what is not whole, and the commit can be repeated.
func TestKilledWhileAContainerStandsStill(t *testing.T) {
	var points []string
	for _, p := range failpoint.Names() {
		if strings.HasPrefix(p, "freeze-") {
			points = append(points, p)
		}
	}
	if len(points) != 3 {
		t.Fatal(points)
	}
	s := startServer(t)
	app := pushImage(t, s, containerdtest.Image{Name: "demo/app:1"})
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "e2e")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			socket := filepath.Join(dir, "sock")
			h := &host{Host: containerdtest.Start(t, containerdtest.Options{Snapshotter: socket}), dir: dir}
			first := startService(t, dir, h.Socket, s.GRPC, point)
			if h.node, err = client.DialNode(socket, client.Options{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.node.Close() })
			up := func() bool { _, err := h.node.List(t.Context()); return err == nil }
			eventually(t, "the snapshotter", up)
			c := h.Run(t, "web-1", h.pull(t, app, "lamina"))
			c.Exec(t, "sh", "-c", "echo x >/file")
			in := &pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/" + point + ":1"}
			if _, err := h.node.Commit(t.Context(), in, nil); err == nil {
				t.Fatal("it was not killed")
			}
			_ = first.Wait()
			if resolves(t, s, reference.Repository("demo/"+point), "1") {
				t.Error("there is a tag already")
			}
			task, err := c.Task(h.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			status := func() containerd.ProcessStatus {
				st, err := task.Status(h.Context())
				if err != nil {
					t.Fatal(err)
				}
				return st.Status
			}
			if got := status(); (got == containerd.Paused) != (point == "freeze-paused") {
				t.Errorf("after the kill it is %s", got)
			}
			startService(t, dir, h.Socket, s.GRPC, "")
			eventually(t, "the container going on", func() bool { return status() == containerd.Running })
			eventually(t, "the snapshotter again", up)
			if got := c.Exec(t, "cat", "/file"); got != "x\n" {
				t.Errorf("it sees %q", got)
			}
			h.commit(t, in)
			left, _ := filepath.Glob(filepath.Join(dir, "root", "frozen", "*"))
			spools, _ := filepath.Glob(filepath.Join(dir, "root", ".*"))
			if len(left)+len(spools) > 0 {
				t.Errorf("left behind: %v %v", left, spools)
			}
		})
	}
}
