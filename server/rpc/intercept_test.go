package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// scripted is a service that does what a test says.
type scripted struct {
	pb.UnimplementedUsageServer
	pb.UnimplementedBlobsServer
	get  func(context.Context) (*pb.UsageGetResponse, error)
	read func(grpcReadStream) error
}

func (s *scripted) Get(ctx context.Context, _ *pb.UsageGetRequest) (*pb.UsageGetResponse, error) {
	return s.get(ctx)
}

func (s *scripted) Read(_ *pb.BlobsReadRequest, stream grpcReadStream) error { return s.read(stream) }

// serveScripted serves s behind the interceptors. done ends the server, after
// which the log is complete.
func serveScripted(t *testing.T, s *scripted) (conn *grpc.ClientConn, log *bytes.Buffer, done func()) {
	t.Helper()
	log = new(bytes.Buffer)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := grpc.NewServer(grpc.UnaryInterceptor(unary(logger)), grpc.StreamInterceptor(streaming(logger)), grpc.WaitForHandlers(true))
	pb.RegisterUsageServer(srv, s)
	pb.RegisterBlobsServer(srv, s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); srv.Stop() })
	return conn, log, func() {
		t.Helper()
		srv.GracefulStop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// lines decodes a log.
func lines(t *testing.T, log *bytes.Buffer) (out []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(log); d.More(); {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func TestPanicsAreErrorsOfTheirCall(t *testing.T) {
	calls := 0
	conn, log, done := serveScripted(t, &scripted{
		get: func(context.Context) (*pb.UsageGetResponse, error) {
			if calls++; calls == 1 {
				panic("secret")
			}
			return &pb.UsageGetResponse{Blobs: 7}, nil
		},
		read: func(grpcReadStream) error { panic("secret") },
	})
	_, err := pb.NewUsageClient(conn).Get(t.Context(), &pb.UsageGetRequest{})
	stream, serr := pb.NewBlobsClient(conn).Read(t.Context(), &pb.BlobsReadRequest{})
	if serr != nil {
		t.Fatal(serr)
	}
	_, serr = stream.Recv()
	for _, err := range []error{err, serr} {
		info := detail[*errdetails.ErrorInfo](t, status.Convert(err).Details())
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") || info == nil || info.Metadata["request_id"] == "" {
			t.Errorf("got %v with %v", err, info)
		}
	}
	if u, err := pb.NewUsageClient(conn).Get(t.Context(), &pb.UsageGetRequest{}); err != nil || u.Blobs != 7 {
		t.Errorf("after the panic: %v %v", u, err)
	}
	done()
	for _, l := range lines(t, log)[:2] {
		if stack, _ := l["stack"].(string); l["level"] != "ERROR" || l["panic"] != "secret" || !strings.Contains(stack, "intercept_test.go") {
			t.Errorf("logged %v", l)
		}
	}
}

func TestEveryCallIsLogged(t *testing.T) {
	conn, log, done := serveScripted(t, &scripted{
		get: func(context.Context) (*pb.UsageGetResponse, error) {
			return nil, &blobstore.Error{Class: blobstore.ErrBlobUnknown, Subject: "sha256:x"}
		},
		read: func(s grpcReadStream) error { return s.Send(&pb.BlobsReadResponse{Data: make([]byte, 1000)}) },
	})
	ctx := metadata.AppendToOutgoingContext(t.Context(), RequestIDHeader, "mine-1")
	var header metadata.MD
	_, err := pb.NewUsageClient(conn).Get(ctx, &pb.UsageGetRequest{}, grpc.Header(&header))
	if status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	if id := header.Get(RequestIDHeader); len(id) != 1 || id[0] != "mine-1" {
		t.Errorf("request id %q", id)
	}
	stream, err := pb.NewBlobsClient(conn).Read(t.Context(), &pb.BlobsReadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	done()
	got := lines(t, log)
	if len(got) != 2 {
		t.Fatalf("%d lines for 2 calls: %v", len(got), got)
	}
	if l := got[0]; l["method"] != "/lamina.v1.Usage/Get" || l["code"] != "NotFound" || l["request_id"] != "mine-1" ||
		l["level"] != "INFO" || !strings.Contains(l["error"].(string), "sha256:x") || !strings.HasPrefix(l["peer"].(string), "127.0.0.1:") || l["duration"] == nil {
		t.Errorf("logged %v", l)
	}
	if l := got[1]; l["code"] != "OK" || l["out"].(float64) < 1000 || l["request_id"] == "" {
		t.Errorf("logged %v", l)
	}
}

func TestRequestIDsThatCannotBeLoggedAreReplaced(t *testing.T) {
	for id, want := range map[string]bool{"a-1": true, "": false, "a b": false, "a\nb": false, "ä": false, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(RequestIDHeader, id))
		if got := requestID(ctx); (got == id) != want || got == "" {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestUnaryCallsHaveADeadline(t *testing.T) {
	var left time.Duration
	conn, _, done := serveScripted(t, &scripted{get: func(ctx context.Context) (*pb.UsageGetResponse, error) {
		d, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		left = time.Until(d)
		return &pb.UsageGetResponse{}, nil
	}})
	call := func(ctx context.Context) {
		t.Helper()
		if _, err := pb.NewUsageClient(conn).Get(ctx, &pb.UsageGetRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	call(t.Context())
	if left > deadlines[pb.Usage_Get_FullMethodName] {
		t.Errorf("%v left", left)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	call(ctx)
	if left < 50*time.Minute {
		t.Errorf("the caller gave an hour, the handler got %v", left)
	}
	done()
}
