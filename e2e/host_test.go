package e2e

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"google.golang.org/grpc"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
	"github.com/laminastore/lamina/snapshotter/node"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// A host is a containerd with Lamina's snapshotter and agent beside it.
type host struct {
	*containerdtest.Host
	node  *client.Node
	agent *node.Agent
	dir   string
	cfg   node.Config // of agent

	stopAgent func()
}

func startHost(t *testing.T, s *servertest.Server) *host {
	t.Helper()
	return startHostAt(t, s.GRPC)
}

// startHostAt starts a host whose server has that gRPC address.
func startHostAt(t *testing.T, server string) *host {
	t.Helper()
	return startHostAs(t, server, "", nil)
}

// startHostAs starts a host that is the node id ("": any), and says so by login.
func startHostAs(t *testing.T, server, id string, login *client.Login) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e") // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	root := filepath.Join(dir, "root")
	sn, err := overlay.Open(overlay.Config{Root: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	socket := filepath.Join(dir, "sock")
	running.Go(func() {
		if err := snapshotter.Run(ctx, snapshotter.Config{Snapshots: sn, Socket: socket, Log: log}); err != nil {
			t.Errorf("snapshotter: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := sn.Close(); err != nil {
			t.Errorf("close the snapshotter: %v", err)
		}
	})
	eventually(t, "the snapshotter's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	h := &host{Host: containerdtest.Start(t, containerdtest.Options{Snapshotter: socket}), dir: dir}

	if id != "" {
		if err := os.WriteFile(filepath.Join(root, "node-id"), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.cfg = node.Config{Containerd: h.Socket, Snapshots: sn, Root: root, Server: server, Login: login, Version: "test", Log: log}
	h.startAgent(t)
	return h
}

// startAgent starts the agent, which reports and is asked through h.node. It is
// stopped when the test ends, too.
func (h *host) startAgent(t *testing.T) {
	t.Helper()
	var err error
	if h.agent, err = node.New(h.cfg); err != nil {
		t.Fatal(err)
	}
	agent := h.agent
	c, err := client.Dial(h.cfg.Server, client.Options{Login: h.cfg.Login})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(h.dir, "agent-"+rand.Text()[:6]))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	agent.Register(g)
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = g.Serve(l) })
	running.Go(func() { agent.Report(ctx, c.Report) })
	if h.node, err = client.DialNode(l.Addr().String(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	n := h.node
	h.stopAgent = sync.OnceFunc(func() {
		end()
		n.Close()
		g.Stop()
		running.Wait()
		c.Close()
		agent.Close()
	})
	t.Cleanup(h.stopAgent)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pull pulls an image by containerd, and returns it.
func (h *host) pull(t *testing.T, ref, snapshotter string) containerd.Image {
	t.Helper()
	img, err := h.Client.Pull(h.Context(), ref, containerd.WithPullUnpack, containerd.WithPullSnapshotter(snapshotter))
	if err != nil {
		t.Fatalf("pull %s: %v", ref, err)
	}
	return img
}

func (h *host) commit(t *testing.T, in *pb.ContainersCommitRequest) *pb.CommitResult {
	t.Helper()
	res, err := h.node.Commit(t.Context(), in, nil)
	if err != nil {
		t.Fatalf("commit %s: %v", in.Container, err)
	}
	return res
}

func (h *host) diff(t *testing.T, container string) string {
	t.Helper()
	var b strings.Builder
	for c, err := range h.node.Diff(t.Context(), &pb.ContainersDiffRequest{Container: container}) {
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(c.Kind.String()[len("CHANGE_KIND_"):][:1] + " " + c.Path + "\n")
	}
	return b.String()
}
