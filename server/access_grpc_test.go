package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
)

// grpcRows says who may make each call.
var grpcRows = map[string]struct {
	request  proto.Message
	admitted string
}{
	"/lamina.v1.Blobs/Stat":        {&pb.BlobsStatRequest{Repository: "team/app", Digest: string(kept.Config)}, pullers},
	"/lamina.v1.Blobs/Read":        {&pb.BlobsReadRequest{Repository: "team/app", Digest: string(kept.Config)}, pullers},
	"/lamina.v1.Blobs/FindMissing": {&pb.BlobsFindMissingRequest{Repository: "team/app", Digests: []string{string(kept.Config)}}, pullers},
	"/lamina.v1.Blobs/Write":       {&pb.BlobsWriteRequest{Repository: "team/app", Digest: string(kept.Config)}, pushers},
	"/lamina.v1.Blobs/Status":      {&pb.BlobsStatusRequest{Repository: "team/app", UploadId: someID}, pushers},
	"/lamina.v1.Blobs/Abort":       {&pb.BlobsAbortRequest{Repository: "team/app", UploadId: someID}, pushers},

	"/lamina.v1.Images/Resolve":     {&pb.ImagesResolveRequest{Repository: "team/app", Reference: "1"}, pullers},
	"/lamina.v1.Images/GetManifest": {&pb.ImagesGetManifestRequest{Repository: "team/app", Reference: "1"}, pullers},
	"/lamina.v1.Images/Get":         {&pb.ImagesGetRequest{Repository: "team/app", Reference: "1"}, pullers},
	"/lamina.v1.Images/History":     {&pb.ImagesHistoryRequest{Repository: "team/app", Reference: "1"}, pullers},
	"/lamina.v1.Images/List":        {&pb.ImagesListRequest{}, named + ",anonymous,greedy token"},
	"/lamina.v1.Images/Put":         {&pb.ImagesPutRequest{Repository: "team/app"}, pushers},
	"/lamina.v1.Images/Tag":         {&pb.ImagesTagRequest{Repository: "team/app", Tag: "2", Digest: string(kept.Digest)}, pushers},
	"/lamina.v1.Images/Delete":      {&pb.ImagesDeleteRequest{Repository: "team/app", Reference: "1"}, deleters},

	// Of those with the role, the one who has the id.
	"/lamina.v1.Snapshots/Report":         {&pb.SnapshotsReportRequest{Node: &pb.Node{Id: "node-1"}}, "node"},
	"/lamina.v1.Snapshots/ListContainers": {&pb.SnapshotsListContainersRequest{NodeId: "node-1"}, "operator,node"},
	// To register is to push, and to be the node: nobody is both here.
	"/lamina.v1.Snapshots/Register": {&pb.SnapshotsRegisterRequest{Snapshot: &pb.Snapshot{Repository: "team/app", NodeId: "node-1"}}, ""},
	"/lamina.v1.Snapshots/List":     {&pb.SnapshotsListRequest{Repository: "team/app"}, pullers},
	"/lamina.v1.Snapshots/Get":      {&pb.SnapshotsGetRequest{Id: someID}, everybody},
	"/lamina.v1.Snapshots/Delete":   {&pb.SnapshotsDeleteRequest{Id: someID}, everybody},

	"/lamina.v1.Usage/Get": {&pb.UsageGetRequest{}, "operator"},

	"/lamina.v1.Maintenance/Collect":          {&pb.MaintenanceCollectRequest{DryRun: true}, "operator"},
	"/lamina.v1.Maintenance/LastCollection":   {&pb.MaintenanceLastCollectionRequest{}, "operator"},
	"/lamina.v1.Maintenance/Verify":           {&pb.MaintenanceVerifyRequest{}, "operator"},
	"/lamina.v1.Maintenance/LastVerification": {&pb.MaintenanceLastVerificationRequest{}, "operator"},

	"/grpc.health.v1.Health/Check":                                   {&healthpb.HealthCheckRequest{}, everybody},
	"/grpc.health.v1.Health/List":                                    {&healthpb.HealthListRequest{}, everybody},
	"/grpc.health.v1.Health/Watch":                                   {&healthpb.HealthCheckRequest{}, everybody},
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      {listServices, everybody},
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {listServices, everybody},
}

var listServices = &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}

// methods lists all that a server has to call, as it says itself.
func methods(t *testing.T, conn *grpc.ClientConn) (names []string) {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(listServices); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.GetListServicesResponse().GetService() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.Name))
		if err != nil {
			t.Fatal(err)
		}
		m := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range m.Len() {
			names = append(names, "/"+s.Name+"/"+string(m.Get(i).Name()))
		}
	}
	return names
}

// A reply is all that a client sees, but for what differs each time.
type reply struct {
	Code            codes.Code
	Status          string
	Header, Trailer metadata.MD
}

// caller is how somebody calls any method: with one message, waiting for one.
func (g *guarded) caller(t *testing.T, c accesstest.Caller) func(method string, request proto.Message) reply {
	t.Helper()
	conn := servertest.DialTLS(t, g.GRPC, g.tls(c))
	return func(method string, request proto.Message) reply {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if c.Authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.Authorization)
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			t.Fatalf("%s: %s: %v", c.Name, method, err)
		}
		if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %s: %v", c.Name, method, err)
		}
		_ = stream.CloseSend()                 // never fails
		err = stream.RecvMsg(&emptypb.Empty{}) // whose fields are then all unknown
		if errors.Is(err, io.EOF) {
			err = nil
		}
		r := reply{Code: status.Code(err), Status: status.Convert(err).Proto().String()}
		if err != nil {
			r.Header, _ = stream.Header()
			r.Trailer = stream.Trailer()
			for _, md := range []metadata.MD{r.Header, r.Trailer} {
				md.Delete("x-request-id")
				md.Delete("date")
			}
		}
		return r
	}
}

// Every call, by every kind of caller, before there is anything and after: who is
// refused cannot tell the one from the other.
func TestWhoMayMakeWhichCall(t *testing.T) {
	g := startGuarded(t)
	all := methods(t, g.Conn)
	for _, m := range all {
		if _, ok := grpcRows[m]; !ok {
			t.Fatalf("%s has no row here: say who may call it", m)
		}
	}
	if len(all) != len(grpcRows) {
		t.Errorf("%d rows for %d calls", len(grpcRows), len(all))
	}
	before := map[string]reply{}
	each := func(f func(what, method string, c accesstest.Caller, call func(string, proto.Message) reply)) {
		for _, c := range g.callers {
			call := g.caller(t, c)
			for _, m := range all {
				f(fmt.Sprintf("%s: %s", c.Name, m), m, c, call)
			}
		}
	}
	each(func(what, method string, c accesstest.Caller, call func(string, proto.Message) reply) {
		row := grpcRows[method]
		got := call(method, row.request)
		switch got.Code {
		case codes.Unauthenticated, codes.PermissionDenied:
			if want := mayNotCall(method, c); got.Code != want || among(row.admitted, c) {
				t.Errorf("%s: %v, admitted %v, want %v", what, got, among(row.admitted, c), want)
			}
			before[what] = got
		default:
			if public := strings.HasPrefix(method, "/grpc."); !among(row.admitted, c) && !(public && !among(refused, c)) {
				t.Errorf("%s: is let in: %v", what, got)
			}
		}
	})
	g.fill(t, "team/app")
	each(func(what, method string, c accesstest.Caller, call func(string, proto.Message) reply) {
		was, ok := before[what]
		if !ok {
			return
		}
		if diff := cmp.Diff(was, call(method, grpcRows[method].request)); diff != "" {
			t.Errorf("%s: it can tell that something is there (-before +after):\n%s", what, diff)
		}
	})
}

// mayNotCall is with what a caller is refused whom the row does not admit.
func mayNotCall(method string, c accesstest.Caller) codes.Code {
	switch {
	case among(refused, c), among(nameless, c):
		return codes.Unauthenticated
	case c.Name == "token" && method == "/lamina.v1.Images/List",
		c.Name == "narrow token" && (grpcRows[method].admitted == pushers || among("/lamina.v1.Images/List,/lamina.v1.Snapshots/Register", accesstest.Caller{Name: method})):
		return codes.Unauthenticated // there are wider tokens for it
	}
	return codes.PermissionDenied
}
