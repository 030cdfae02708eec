package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
)

// What is taken over from a place that the caller may not read is missing, as it
// is where it is not there.
func TestFindMissingIsAWall(t *testing.T) {
	g := startGuarded(t)
	g.fill(t, "secret/app")
	g.fill(t, "open/app")
	layer := string(kept.Layers[0])
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", g.f.Writer.Authorization)
	c := pb.NewBlobsClient(g.Conn)
	for from, missing := range map[string][]string{"secret/app": {layer}, "secret/none": {layer}, "team/none": {layer}, "open/app": nil} {
		got, err := c.FindMissing(ctx, &pb.BlobsFindMissingRequest{Repository: "team/new-" + strings.ReplaceAll(from, "/", "-"), Digests: []string{layer}, MountFrom: []string{from}})
		if err != nil || !slices.Equal(got.GetMissing(), missing) {
			t.Errorf("from %s: %v, %v", from, got, err)
		}
	}
	// To take over is to push; to ask is not.
	reader := metadata.AppendToOutgoingContext(t.Context(), "authorization", g.f.Reader.Authorization)
	in := &pb.BlobsFindMissingRequest{Repository: "team/app", Digests: []string{layer}}
	if _, err := c.FindMissing(reader, in); err != nil {
		t.Error(err)
	}
	call := g.caller(t, g.f.Reader)
	in.MountFrom = []string{"open/app"}
	if got := call("/lamina.v1.Blobs/FindMissing", in); got.Code != codes.PermissionDenied {
		t.Errorf("a reader takes over: %v", got)
	}
}

// A node speaks for itself, and what it registered is known to those who may pull
// the image.
func TestNodesAndTheirSnapshots(t *testing.T) {
	g := startGuarded(t)
	node, other, host := g.caller(t, g.f.Node), g.caller(t, g.f.OtherNode), g.caller(t, g.f.UserNode)
	report := func(id string) proto.Message { return &pb.SnapshotsReportRequest{Node: &pb.Node{Id: id}} }
	const method = "/lamina.v1.Snapshots/Report"
	for _, s := range []struct {
		call func(string, proto.Message) reply
		id   string
		code codes.Code
	}{
		{node, "node-1", codes.OK}, {node, "node-2", codes.PermissionDenied}, {node, "free", codes.PermissionDenied},
		{host, "host-1", codes.OK}, {host, "node-1", codes.PermissionDenied}, {other, "host-1", codes.PermissionDenied},
		{host, "node-2", codes.OK}, {other, "node-2", codes.OK}, {host, "node-2", codes.PermissionDenied}, // a certificate goes before
		{node, "", codes.InvalidArgument}, {host, "", codes.InvalidArgument},
	} {
		if got := s.call(method, report(s.id)); got.Code != s.code {
			t.Errorf("report as %q: %v, want %v", s.id, got, s.code)
		}
	}

	g.fill(t, "team/app")
	g.fill(t, "secret/app")
	f := fleet.New(g.Store, g.Images)
	ids := map[reference.Repository]string{"team/app": "01ARZ3NDEKTSV4RRFFQ69G5FA1", "secret/app": "01ARZ3NDEKTSV4RRFFQ69G5FA2"}
	for repo, id := range ids {
		if _, err := f.Register(t.Context(), fleet.Snapshot{
			ID: id, Repository: repo, Image: images.Descriptor{Digest: kept.Digest}, NodeID: "node-1",
			Container: fleet.Container{Namespace: "default", ID: "web"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []accesstest.Caller{g.f.Reader, g.f.Owner, g.f.Stranger, g.f.Anonymous, g.f.Operator} {
		call := g.caller(t, c)
		get := func(id string) reply { return call("/lamina.v1.Snapshots/Get", &pb.SnapshotsGetRequest{Id: id}) }
		del := func(id string) reply { return call("/lamina.v1.Snapshots/Delete", &pb.SnapshotsDeleteRequest{Id: id}) }
		same := func(a, b reply, id, other string) bool {
			return a.Code == b.Code && strings.ReplaceAll(fmt.Sprint(a), id, other) == fmt.Sprint(b)
		}
		want := map[reference.Repository]codes.Code{"team/app": codes.NotFound, "secret/app": codes.NotFound}
		if among(pullers, c) || c.Name == "operator" {
			want["team/app"] = codes.OK
		}
		if c.Name == "operator" {
			want["secret/app"] = codes.OK
		}
		for repo, id := range ids {
			got := get(id)
			if got.Code != want[repo] {
				t.Errorf("%s: get the snapshot in %s: %v, want %v", c.Name, repo, got, want[repo])
			}
			if got.Code == codes.NotFound && (!same(get(someID), got, someID, id) || !same(del(someID), del(id), someID, id)) {
				t.Errorf("%s: can tell that there is a snapshot in %s", c.Name, repo)
			}
		}
	}
	if got := g.caller(t, g.f.Reader)("/lamina.v1.Snapshots/Delete", &pb.SnapshotsDeleteRequest{Id: ids["team/app"]}); got.Code != codes.PermissionDenied {
		t.Errorf("a reader deletes: %v", got)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", g.f.Reader.Authorization)
	list, err := pb.NewSnapshotsClient(g.Conn).List(ctx, &pb.SnapshotsListRequest{})
	if err != nil || len(list.Snapshots) != 1 || list.Snapshots[0].Repository != "team/app" {
		t.Errorf("a reader lists %v, %v", list, err)
	}
	if got := g.caller(t, g.f.Owner)("/lamina.v1.Snapshots/Delete", &pb.SnapshotsDeleteRequest{Id: ids["team/app"]}); got.Code != codes.OK {
		t.Errorf("the owner deletes: %v", got)
	}
}

// A page of a list looks at so many and no more, and another server goes on
// from there; what the caller may not see is told by neither.
func TestListsAmongMuchThatIsHidden(t *testing.T) {
	g := startGuarded(t)
	other := servertest.Start(t, servertest.Options{Bucket: g.Store.Bucket(), Config: g.config, TLS: g.tls(accesstest.Caller{})})
	for i := range 21_000 {
		raw := []byte(`{"rev":"x"}`)
		key := fmt.Sprintf("catalog/secret/%05d+", i)
		if _, err := g.Store.Bucket().Put(t.Context(), key, bytes.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	g.fill(t, "team/app")
	get := []func(string, string) answer{g.client(t, g.f.Reader), (&guarded{Server: other, server: g.server}).client(t, g.f.Reader)}
	pages, path, last := 0, "/v2/_catalog", ""
	for ; path != ""; pages++ {
		a := get[pages%2](http.MethodGet, path)
		if a.Status != http.StatusOK || strings.Contains(fmt.Sprint(a), "secret") {
			t.Fatalf("page %d: %+v", pages, a)
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
		last = a.Body
	}
	if pages != 3 || !strings.Contains(last, `["team/app"]`) {
		t.Errorf("%d pages, the last is %s", pages, last)
	}
	if got := get[0](http.MethodGet, "/v2/_catalog?after=nonsense"); got.Status != http.StatusBadRequest {
		t.Errorf("a cursor of somebody's own making: %+v", got)
	}

	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", g.f.Reader.Authorization)
	conns := []pb.ImagesClient{pb.NewImagesClient(g.Conn), pb.NewImagesClient(other.Conn)}
	in := &pb.ImagesListRequest{}
	var found []string
	for pages = 0; pages == 0 || in.PageToken != ""; pages++ {
		out, err := conns[pages%2].List(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range out.Images {
			found = append(found, i.Repository+":"+i.Tag)
		}
		in.PageToken = out.NextPageToken
	}
	if pages != 5 || !slices.Equal(found, []string{"team/app:1"}) {
		t.Errorf("%d pages with %v", pages, found)
	}
	in.PageToken = "eyJvZiI6IngiLCJhdCI6eyJzIjoieCJ9fQ"
	if _, err := conns[0].List(ctx, in); err == nil {
		t.Error("a token of somebody's own making is taken")
	}
}
