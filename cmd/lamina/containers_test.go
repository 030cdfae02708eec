package main

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// theNode is a host with three containers, two of which have ids that begin alike.
func theNode(now time.Time) *pb.Node {
	chain := "sha256:" + strings.Repeat("1", 64)
	created := timestamppb.New(now.Add(-3 * time.Hour))
	return &pb.Node{
		Id: "host-a", Hostname: "alpha", Version: "test", ReportedAt: timestamppb.New(now),
		Containers: []*pb.Container{
			{Namespace: "default", Id: "web-1", Image: "localhost:5000/demo/app:1", ImageDigest: "sha256:" + strings.Repeat("2", 64), ChainId: chain,
				State: pb.ContainerState_CONTAINER_STATE_RUNNING, CreatedAt: created, WrittenBytes: 1_234_567, WrittenInodes: 12},
			{Namespace: "k8s.io", Id: strings.Repeat("3", 20) + strings.Repeat("a", 44), Image: "registry.example/x@sha256:" + strings.Repeat("4", 64), ChainId: chain,
				State: pb.ContainerState_CONTAINER_STATE_STOPPED, CreatedAt: created},
			{Namespace: "k8s.io", Id: strings.Repeat("3", 20) + strings.Repeat("b", 44), Image: "localhost:5000/demo/app:1", ChainId: chain,
				State: pb.ContainerState_CONTAINER_STATE_PAUSED, CreatedAt: created, Labels: map[string]string{"a": "b"}},
		},
	}
}

func TestContainersOfAllHosts(t *testing.T) {
	c, s := withServer(t)
	if r := c.try("containers"); r.code != 0 || r.out != "" || r.err != "no containers: no host has reported any yet\n" {
		t.Errorf("%+v", r)
	}
	api, err := client.Dial(s.GRPC, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	now := time.Now()
	b := theNode(now)
	b.Id, b.Hostname = "host-b", "beta"
	b.Containers = b.Containers[:1]
	for _, n := range []*pb.Node{theNode(now), b} {
		if err := api.Report(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "containers", c.run("containers"))
	golden(t, "containers-quiet", c.run("containers", "-q", "--node", "alpha"))
	var list []containerJSON
	if err := json.Unmarshal([]byte(c.run("containers", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 || list[0].Node != "host-a" || list[0].WrittenBytes != 1_234_567 || list[0].State != "running" || list[2].Labels["a"] != "b" {
		t.Errorf("%+v", list)
	}
}

// nodeService stands in for a snapshotter, of which these tests want to see what
// the commands print. The snapshotter's own tests are about what it does.
type nodeService struct {
	pb.UnimplementedContainersServer
	asked *pb.ContainersCommitRequest
}

func (s *nodeService) List(context.Context, *pb.ContainersListRequest) (*pb.ContainersListResponse, error) {
	return &pb.ContainersListResponse{Node: theNode(time.Now())}, nil
}

func (s *nodeService) Diff(in *pb.ContainersDiffRequest, out grpc.ServerStreamingServer[pb.ContainersDiffResponse]) error {
	if in.Container == "none" {
		st, _ := status.New(codes.NotFound, "container none: there is none in any namespace (lamina containers --local lists them)").WithDetails(
			&errdetails.ErrorInfo{Reason: "CONTAINER_UNKNOWN", Domain: "lamina.store"})
		return st.Err()
	}
	if in.Container == "untouched" {
		return nil
	}
	for _, c := range [][]*pb.Change{
		{{Path: "/app", Kind: pb.ChangeKind_CHANGE_KIND_CHANGED}, {Path: "/app/new file", Kind: pb.ChangeKind_CHANGE_KIND_ADDED, Size: 1234}},
		{{Path: "/etc/evil\x1b[2J\n", Kind: pb.ChangeKind_CHANGE_KIND_ADDED, Size: 7}, {Path: "/tmp/x", Kind: pb.ChangeKind_CHANGE_KIND_DELETED}},
	} {
		if err := out.Send(&pb.ContainersDiffResponse{Changes: c}); err != nil {
			return err
		}
	}
	return nil
}

func (s *nodeService) Commit(in *pb.ContainersCommitRequest, out grpc.ServerStreamingServer[pb.ContainersCommitResponse]) error {
	s.asked = in
	for _, p := range []*pb.CommitProgress{
		{Step: pb.CommitStep_COMMIT_STEP_READ, DoneBytes: 500},
		{Step: pb.CommitStep_COMMIT_STEP_READ, DoneBytes: 2000},
		{Step: pb.CommitStep_COMMIT_STEP_COMPRESS, DoneBytes: 2000, TotalBytes: 2000},
		{Step: pb.CommitStep_COMMIT_STEP_PUSH, DoneBytes: 900, TotalBytes: 900},
	} {
		if err := out.Send(&pb.ContainersCommitResponse{Event: &pb.ContainersCommitResponse_Progress{Progress: p}}); err != nil {
			return err
		}
	}
	d := "sha256:" + strings.Repeat("5", 64)
	return out.Send(&pb.ContainersCommitResponse{Event: &pb.ContainersCommitResponse_Result{Result: &pb.CommitResult{
		Reference: "localhost:5000/demo/web-1:saved@" + d, Added: 3, Changed: 2, Deleted: 1, Skipped: []string{"/run/app.sock is a socket"},
		Altered: []string{"/var/log/app was written to while it was read"},
		Snapshot: &pb.Snapshot{
			Id: "01JD", Image: &pb.Descriptor{Digest: d}, Diff: &pb.Descriptor{Digest: "sha256:" + strings.Repeat("6", 64), Size: 900},
			DiffId: "sha256:" + strings.Repeat("7", 64), PausedUs: 12_340,
		},
	}}})
}

// onNode is a cli on a host with a snapshotter.
func onNode(t *testing.T) (*cli, *nodeService) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s, node := grpc.NewServer(), &nodeService{}
	pb.RegisterContainersServer(s, node)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := newCLI(t)
	c.env["LAMINA_SOCKET"] = socket
	return c, node
}

func TestContainersOfThisHost(t *testing.T) {
	c, node := onNode(t)
	golden(t, "containers-local", c.run("containers", "--local"))
	golden(t, "diff", c.run("diff", "web-1"))
	golden(t, "diff-json", c.run("diff", "-o", "json", "web-1"))
	if got := c.run("diff", "-o", "json", "untouched"); got != "[\n]\n" {
		t.Errorf("%q", got)
	}
	if got := c.fails(1, "diff", "none"); !strings.Contains(got, "diff of none: container none: there is none in any namespace") {
		t.Error(got)
	}
	r := c.try("commit", "k8s.io/web-1", "localhost:5000/demo/web-1:saved", "--exclude", "/tmp", "--exclude", "**/*.log", "-m", "text", "-c", `CMD ["x"]`, "--compression", "zstd", "--no-pause")
	golden(t, "commit", r.out+"---\n"+r.err)
	in := node.asked
	if in.Namespace != "k8s.io" || in.Container != "web-1" || len(in.Exclude) != 2 || in.Message != "text" || len(in.Changes) != 1 ||
		in.Compression != "zstd" || !in.NoPause || in.Reference != "localhost:5000/demo/web-1:saved" {
		t.Errorf("%+v", in)
	}
	golden(t, "commit-json", c.run("commit", "web-1", "demo/web-1:saved", "-o", "json"))
	if got := c.run("commit", "web-1", "demo/web-1:saved", "-q"); got != "localhost:5000/demo/web-1:saved@sha256:"+strings.Repeat("5", 64)+"\n" {
		t.Errorf("%q", got)
	}
	if got := c.complete("commit", "we"); len(got) != 1 || got[0] != "web-1" {
		t.Errorf("%q", got)
	}
	if got := c.complete("diff", "k8s.io/3"); len(got) != 2 {
		t.Errorf("%q", got)
	}
}
