package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// refused commits and says how that was refused.
func (h *host) refused(t *testing.T, in *pb.ContainersCommitRequest) (codes.Code, pb.Reason, string) {
	t.Helper()
	_, err := h.node.Commit(t.Context(), in, nil)
	if err == nil {
		t.Fatalf("commit %v: no error", in)
	}
	return status.Code(err), client.ReasonOf(err), err.Error()
}

func resolves(t *testing.T, s *servertest.Server, repo reference.Repository, tag reference.Tag) bool {
	t.Helper()
	c, err := client.Dial(s.GRPC, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Resolve(t.Context(), repo, reference.Locator{Tag: tag}, "")
	if err != nil && status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	return err == nil
}

func TestCommitsThatCannotBe(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	img := h.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1"}), "lamina")
	c := h.Run(t, "web-1", img)
	h.Run(t, "web-2", img)
	for name, test := range map[string]struct {
		in     *pb.ContainersCommitRequest
		code   codes.Code
		reason pb.Reason
		says   string
	}{
		"no such container": {&pb.ContainersCommitRequest{Container: "web-9", Reference: "demo/x:1"}, codes.NotFound, pb.Reason_REASON_CONTAINER_UNKNOWN, "web-9"},
		"two fit":           {&pb.ContainersCommitRequest{Container: "web", Reference: "demo/x:1"}, codes.InvalidArgument, pb.Reason_REASON_CONTAINER_UNKNOWN, "web-2"},
		"no reference":      {&pb.ContainersCommitRequest{Container: "web-1", Reference: "Demo/x:1"}, codes.InvalidArgument, 0, "Demo/x:1"},
		"a digest":          {&pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/x@sha256:" + strings.Repeat("0", 64)}, codes.InvalidArgument, 0, "digest"},
		"a bad instruction": {&pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/x:1", Changes: []string{"RUN rm -rf /"}}, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID, "RUN rm -rf /"},
		"a bad compression": {&pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/x:1", Compression: "lzma"}, codes.InvalidArgument, 0, "lzma"},
		"a bad pattern":     {&pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/x:1", Exclude: []string{"[a"}}, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID, "[a"},
	} {
		code, reason, says := h.refused(t, test.in)
		if code != test.code || reason != test.reason || !strings.Contains(says, test.says) {
			t.Errorf("%s: %v %v %q", name, code, reason, says)
		}
	}
	s.Stop(t)
	if code, _, says := h.refused(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/x:1"}); code != codes.Unavailable {
		t.Errorf("the server is away: %v %q", code, says)
	}
	if got := c.Exec(t, "echo", "on"); got != "on\n" {
		t.Errorf("the container does not go on: %q", got)
	}
}

func TestCommitLeavesOutWhatIsExcluded(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	c := h.Run(t, "web-1", h.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1", Layers: []map[string]string{{"log/old": "kept"}}}), "lamina"))
	c.Exec(t, "sh", "-c", "echo new >/log/old; echo x >/log/new; mkdir /tmp; echo t >/tmp/t; echo d >/data")
	c.Stop(t) // a stopped container is committed as it is
	for _, compression := range []string{"gzip", "zstd"} {
		ref := s.HTTP + "/demo/saved:" + compression
		res := h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: ref, Exclude: []string{"/log", "/tmp"}, Compression: compression})
		if res.Snapshot.PausedUs != 0 {
			t.Errorf("%s: a stopped container stood still for %d µs", compression, res.Snapshot.PausedUs)
		}
		got := h.Ctr(t, "run", "--rm", "--snapshotter", "lamina", h.pull(t, ref, "lamina").Name(), "again-"+compression, "sh", "-c", "cat /log/old /data; ls /log /tmp 2>&1; true")
		if want := "kept" + "d\n" + "ls: /tmp: No such file or directory\n/log:\nold\n"; got != want {
			t.Errorf("%s: it sees %q", compression, got)
		}
	}
}

// A gate is a way to a server that is closed until it is opened.
type gate struct {
	net.Listener
	open chan struct{}
	once sync.Once
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l, open: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer in.Close()
				<-g.open
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				running.Go(func() { io.Copy(out, in); out.Close() })
				io.Copy(in, out)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.Open()
	})
	return g
}

func (g *gate) Open() { g.once.Do(func() { close(g.open) }) }

func TestContainerRemovedWhileItIsCommitted(t *testing.T) {
	s := startServer(t)
	g := newGate(t, s.GRPC)
	h := startHostAt(t, g.Addr().String())
	c := h.Run(t, "web-1", h.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1"}), "lamina"))
	c.Exec(t, "sh", "-c", "echo x >/file")
	var once sync.Once
	_, err := h.node.Commit(t.Context(), &pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/saved:1"}, func(p *pb.CommitProgress) {
		if p.Step != pb.CommitStep_COMMIT_STEP_PUSH {
			return
		}
		once.Do(func() { // nothing has been sent, and cannot be
			c.Stop(t)
			c.Remove(t)
			g.Open()
		})
	})
	if status.Code(err) != codes.Aborted || client.ReasonOf(err) != pb.Reason_REASON_CONTAINER_BUSY || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("got %v", err)
	}
	if resolves(t, s, "demo/saved", "1") {
		t.Error("there is an image of it all the same")
	}
}

func TestCommitThatIsGivenUpLetsTheContainerGoOn(t *testing.T) {
	s := startServer(t)
	g := newGate(t, s.GRPC)
	h := startHostAt(t, g.Addr().String())
	c := h.Run(t, "web-1", h.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1"}), "lamina"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := &pb.ContainersCommitRequest{Container: "web-1", Reference: "demo/saved:1"}
	_, err := h.node.Commit(ctx, in, func(p *pb.CommitProgress) {
		if p.Step == pb.CommitStep_COMMIT_STEP_PUSH {
			// Meanwhile nobody else may.
			if code, reason, _ := h.refused(t, in); code != codes.Aborted || reason != pb.Reason_REASON_CONTAINER_BUSY {
				t.Errorf("a second commit: %v %v", code, reason)
			}
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) && status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if got := c.Exec(t, "echo", "on"); got != "on\n" {
		t.Errorf("the container does not go on: %q", got)
	}
	g.Open()
	eventually(t, "the claim on the container gone", func() bool {
		_, err := h.node.Commit(t.Context(), in, nil)
		return err == nil
	})
}
