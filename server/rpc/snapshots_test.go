package rpc_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func aContainer(id string) *pb.Container {
	return &pb.Container{
		Namespace: "default", Id: id, Image: "localhost:5000/demo/app:1", ImageDigest: absent, ChainId: absent,
		State: pb.ContainerState_CONTAINER_STATE_RUNNING, CreatedAt: timestamppb.New(time.Unix(1_700_000_000, 0)),
		WrittenBytes: 4096, WrittenInodes: 3, Labels: map[string]string{"nerdctl/name": "web-1"},
	}
}

func TestNodesAreReported(t *testing.T) {
	c := pb.NewSnapshotsClient(start(t, nil).Conn)
	var want []*pb.Node
	for n := range 5 {
		node := &pb.Node{Id: fmt.Sprintf("node-%d", n), Hostname: "host", Version: "v1", Containers: []*pb.Container{aContainer("a"), aContainer("b")}}
		if _, err := c.Report(t.Context(), &pb.SnapshotsReportRequest{Node: node}); err != nil {
			t.Fatal(err)
		}
		for _, cont := range node.Containers {
			cont.NodeId = node.Id
		}
		want = append(want, node)
	}
	for size := range int32(7) {
		var got []*pb.Node
		in := &pb.SnapshotsListContainersRequest{PageSize: size}
		for {
			out, err := c.ListContainers(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, out.Nodes...)
			if in.PageToken = out.NextPageToken; in.PageToken == "" {
				break
			}
		}
		if d := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&pb.Node{}, "reported_at")); d != "" {
			t.Fatalf("pages of %d: %s", size, d)
		}
		if got[0].ReportedAt == nil {
			t.Error("no time of the report")
		}
	}
	// A report replaces the one before.
	if _, err := c.Report(t.Context(), &pb.SnapshotsReportRequest{Node: &pb.Node{Id: "node-3"}}); err != nil {
		t.Fatal(err)
	}
	out, err := c.ListContainers(t.Context(), &pb.SnapshotsListContainersRequest{NodeId: "node-3"})
	if err != nil || len(out.Nodes) != 1 || len(out.Nodes[0].Containers) != 0 {
		t.Errorf("%v %v", out, err)
	}
	if out, err = c.ListContainers(t.Context(), &pb.SnapshotsListContainersRequest{NodeId: "none"}); err != nil || len(out.Nodes) != 0 {
		t.Errorf("a node that is not there: %v %v", out, err)
	}
}

// However much the nodes run, a page fits into the 4 MiB that clients take.
func TestPagesOfNodesAreBounded(t *testing.T) {
	c := pb.NewSnapshotsClient(start(t, nil).Conn)
	for n := range 5 {
		node := &pb.Node{Id: fmt.Sprintf("node-%d", n)}
		for k := range 3000 {
			node.Containers = append(node.Containers, &pb.Container{Namespace: "k8s.io", Id: fmt.Sprintf("%0200d", k)})
		}
		if _, err := c.Report(t.Context(), &pb.SnapshotsReportRequest{Node: node}); err != nil {
			t.Fatal(err)
		}
	}
	nodes := 0
	in := &pb.SnapshotsListContainersRequest{}
	for pages := 1; ; pages++ {
		out, err := c.ListContainers(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		nodes += len(out.Nodes)
		if in.PageToken = out.NextPageToken; in.PageToken == "" {
			if nodes != 5 || pages == 1 {
				t.Errorf("%d nodes on %d pages", nodes, pages)
			}
			return
		}
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	c := pb.NewSnapshotsClient(start(t, nil).Conn)
	with := func(f func(*pb.Container)) *pb.Node {
		cont := aContainer("a")
		f(cont)
		return &pb.Node{Id: "n", Containers: []*pb.Container{cont}}
	}
	for name, r := range map[string]struct {
		node   *pb.Node
		reason string
	}{
		"none":          {nil, "ARGUMENT_INVALID"},
		"no id":         {&pb.Node{}, "NODE_INVALID"},
		"path":          {&pb.Node{Id: "../x"}, "NODE_INVALID"},
		"long id":       {&pb.Node{Id: strings.Repeat("x", 129)}, "NODE_INVALID"},
		"twice":         {&pb.Node{Id: "n", Containers: []*pb.Container{aContainer("a"), aContainer("a")}}, "NODE_INVALID"},
		"digest":        {with(func(c *pb.Container) { c.ImageDigest = "x" }), "DIGEST_INVALID"},
		"chain":         {with(func(c *pb.Container) { c.ChainId = "md5:x" }), "DIGEST_UNSUPPORTED"},
		"negative":      {with(func(c *pb.Container) { c.WrittenBytes = -1 }), "NODE_INVALID"},
		"time":          {with(func(c *pb.Container) { c.CreatedAt = &timestamppb.Timestamp{Nanos: -1} }), "ARGUMENT_INVALID"},
		"control chars": {with(func(c *pb.Container) { c.Image = "\x1b[2J" }), "NODE_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Report(t.Context(), &pb.SnapshotsReportRequest{Node: r.node})
			refused(t, err, codes.InvalidArgument, r.reason)
		})
	}
	for _, in := range []*pb.SnapshotsListContainersRequest{{PageSize: -1}, {PageSize: 1001}, {PageToken: "x"}} {
		_, err := c.ListContainers(t.Context(), in)
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	}
	_, err := c.ListContainers(t.Context(), &pb.SnapshotsListContainersRequest{NodeId: "../x"})
	refused(t, err, codes.InvalidArgument, "NODE_INVALID")
}

// committed is the registration of an image of two layers, whose upper one a
// container wrote.
func committed(i *imagesOn, seed uint64) *pb.Snapshot {
	i.t.Helper()
	d := i.blobs.Image("amd64", seed, 1000, 2000)
	i.push(d, "saved")
	var m ocispec.Manifest
	if err := json.Unmarshal(i.blobs[d.Digest], &m); err != nil {
		i.t.Fatal(err)
	}
	var config ocispec.Image
	if err := json.Unmarshal(i.blobs[m.Config.Digest], &config); err != nil {
		i.t.Fatal(err)
	}
	return &pb.Snapshot{
		Id: ulid.Make().String(), Repository: i.repo, Tag: "saved",
		Image:         &pb.Descriptor{Digest: string(d.Digest), Size: d.Size, MediaType: d.MediaType},
		ParentDiffIds: []string{string(config.RootFS.DiffIDs[0])},
		Diff:          &pb.Descriptor{Digest: string(m.Layers[1].Digest), Size: m.Layers[1].Size, MediaType: m.Layers[1].MediaType},
		DiffId:        string(config.RootFS.DiffIDs[1]), Container: aContainer("web-1"), NodeId: "node-1", PausedUs: 12_345,
	}
}

func TestSnapshots(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	c := pb.NewSnapshotsClient(i.conn)
	snap := committed(i, 1)
	reg, err := c.Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: snap})
	if err != nil {
		t.Fatal(err)
	}
	got := reg.Snapshot
	if got.Id != snap.Id || got.ChainId == "" || got.ParentChainId != snap.ParentDiffIds[0] || got.PausedUs != 12_345 || got.CreatedAt == nil || got.Container.GetId() != "web-1" {
		t.Errorf("registered %v", got)
	}
	again, err := c.Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: snap})
	if err != nil {
		t.Fatal(err)
	}
	one, err := c.Get(t.Context(), &pb.SnapshotsGetRequest{Id: snap.Id})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*pb.Snapshot{"again": again.Snapshot, "get": one.Snapshot} {
		if d := cmp.Diff(got, other, protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}

	if _, err := c.Delete(t.Context(), &pb.SnapshotsDeleteRequest{Id: snap.Id}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), &pb.SnapshotsGetRequest{Id: snap.Id})
	refused(t, err, codes.NotFound, "SNAPSHOT_UNKNOWN")
	_, err = c.Delete(t.Context(), &pb.SnapshotsDeleteRequest{Id: snap.Id})
	refused(t, err, codes.NotFound, "SNAPSHOT_UNKNOWN")
	_, err = c.Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: snap})
	refused(t, err, codes.Aborted, "CONFLICT")
	if got := i.resolve("saved"); got != snap.Image.Digest {
		t.Errorf("the image went with its registration: %s", got)
	}
}

func TestSnapshotList(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	c := pb.NewSnapshotsClient(i.conn)
	var all, ofB []string
	for n := range 6 {
		i.repo = []string{"a", "b"}[n%2]
		s := committed(i, uint64(n*10))
		if _, err := c.Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: s}); err != nil {
			t.Fatal(err)
		}
		if all = append(all, s.Id); i.repo == "b" {
			ofB = append(ofB, s.Id)
		}
	}
	for _, ids := range []*[]string{&all, &ofB} { // newest first
		slices.Sort(*ids)
		slices.Reverse(*ids)
	}
	for size := range int32(8) {
		for repo, want := range map[string][]string{"": all, "b": ofB, "c": nil} {
			var got []string
			in := &pb.SnapshotsListRequest{Repository: repo, PageSize: size}
			for {
				out, err := c.List(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.Snapshots {
					got = append(got, s.Id)
				}
				if in.PageToken = out.NextPageToken; in.PageToken == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d of %q: %v, want %v", size, repo, got, want)
			}
		}
	}
	for _, in := range []*pb.SnapshotsListRequest{{PageSize: -1}, {PageToken: "x"}} {
		_, err := c.List(t.Context(), in)
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	}
	_, err := c.List(t.Context(), &pb.SnapshotsListRequest{Repository: "A"})
	refused(t, err, codes.InvalidArgument, "NAME_INVALID")
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	c := pb.NewSnapshotsClient(i.conn)
	for name, r := range map[string]struct {
		change func(*pb.Snapshot)
		code   codes.Code
		reason string
	}{
		"id":              {func(s *pb.Snapshot) { s.Id = "../x" }, codes.InvalidArgument, "SNAPSHOT_INVALID"},
		"repository":      {func(s *pb.Snapshot) { s.Repository = "A" }, codes.InvalidArgument, "NAME_INVALID"},
		"tag":             {func(s *pb.Snapshot) { s.Tag = "-" }, codes.InvalidArgument, "TAG_INVALID"},
		"image":           {func(s *pb.Snapshot) { s.Image.Digest = absent }, codes.NotFound, "MANIFEST_UNKNOWN"},
		"image's digest":  {func(s *pb.Snapshot) { s.Image.Digest = "x" }, codes.InvalidArgument, "DIGEST_INVALID"},
		"negative size":   {func(s *pb.Snapshot) { s.Diff.Size = -1 }, codes.InvalidArgument, "ARGUMENT_INVALID"},
		"negative pause":  {func(s *pb.Snapshot) { s.PausedUs = -1 }, codes.InvalidArgument, "ARGUMENT_INVALID"},
		"endless pause":   {func(s *pb.Snapshot) { s.PausedUs = 1 << 62 }, codes.InvalidArgument, "ARGUMENT_INVALID"},
		"parent":          {func(s *pb.Snapshot) { s.ParentDiffIds = []string{absent} }, codes.InvalidArgument, "SNAPSHOT_INVALID"},
		"parent's digest": {func(s *pb.Snapshot) { s.ParentDiffIds = []string{"x"} }, codes.InvalidArgument, "DIGEST_INVALID"},
		"chain":           {func(s *pb.Snapshot) { s.ChainId = absent }, codes.InvalidArgument, "SNAPSHOT_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			s := committed(i, 1)
			r.change(s)
			_, err := c.Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: s})
			refused(t, err, r.code, r.reason)
		})
	}
	_, err := c.Register(t.Context(), &pb.SnapshotsRegisterRequest{})
	refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	_, err = c.Get(t.Context(), &pb.SnapshotsGetRequest{Id: "../x"})
	refused(t, err, codes.NotFound, "SNAPSHOT_UNKNOWN")
}

func TestUsage(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	c := pb.NewUsageClient(i.conn)
	d := i.blobs.Image("amd64", 1, 1000, 100_000)
	i.push(d, "1", "2")
	i.repo = "other/app"
	i.push(d, "1")
	loose := i.put([]byte("named by nothing"))
	u, err := c.Get(t.Context(), &pb.UsageGetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if u.NamedBytes != 2*u.StoredBytes || u.StoredBytes < 101_000 || u.UnnamedBytes != int64(len("named by nothing")) || u.Manifests != 1 || u.Blobs != 5 || u.CountedAt == nil {
		t.Errorf("%v", u)
	}
	if len(u.Repositories) != 2 || u.Repositories[0].Repository != "demo/app" || u.Repositories[0].Tags != 2 || u.Repositories[0].OwnBytes != 0 {
		t.Errorf("%v", u.Repositories)
	}
	if len(u.Shared) == 0 || len(u.Shared[0].Repositories) != 2 || slices.ContainsFunc(u.Shared, func(s *pb.SharedBlob) bool { return s.Digest == loose }) {
		t.Errorf("%v", u.Shared)
	}
	if u.SavedBytes != u.StoredBytes || u.HeldBytes != 0 || u.CondemnedBytes != 0 || u.DrainingBytes != 0 || u.Repositories[0].OldestAt == nil {
		t.Errorf("%v", u)
	}
	if l := u.LargestImages; len(l) != 1 || l[0].Repository != "demo/app" || l[0].Digest != string(d.Digest) || l[0].Size != u.StoredBytes {
		t.Errorf("largest images: %v", l)
	}
	if l := u.LargestBlobs; len(l) != 4 || l[0].Size < 100_000 || l[0].Images != 2 || len(l[0].Repositories) != 2 {
		t.Errorf("largest blobs: %v", l)
	}
	if l := u.OldestImages; len(l) != 2 || l[0].PushedAt == nil || l[0].PushedAt.AsTime().After(l[1].PushedAt.AsTime()) {
		t.Errorf("oldest images: %v", l)
	}
	i.push(i.blobs.Image("amd64", 50, 5000), "3")
	if again, err := c.Get(t.Context(), &pb.UsageGetRequest{}); err != nil || again.StoredBytes != u.StoredBytes {
		t.Errorf("the last count: %v %v", again, err)
	}
	if anew, err := c.Get(t.Context(), &pb.UsageGetRequest{Refresh: true}); err != nil || anew.StoredBytes <= u.StoredBytes {
		t.Errorf("a new count: %v %v", anew, err)
	}
}
