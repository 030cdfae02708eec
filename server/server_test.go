package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// unreachable is a bucket whose server may be away.
type unreachable struct {
	*memory.Bucket
	away atomic.Bool
}

func (u *unreachable) Clock(ctx context.Context) (time.Time, error) {
	if u.away.Load() {
		return time.Time{}, fmt.Errorf("test: %w", bucket.ErrUnavailable)
	}
	return u.Bucket.Clock(ctx)
}

func TestHealthPages(t *testing.T) {
	b := &unreachable{Bucket: memory.New(memory.Options{})}
	s := servertest.Start(t, servertest.Options{Bucket: b})
	url := "http://" + s.Metrics
	for _, page := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, url+page); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", page, code, body)
		}
	}
	b.away.Store(true)
	code, body := get(t, url+"/readyz")
	for code == 200 { // an answer counts for a while
		code, body = get(t, url+"/readyz")
	}
	if code != 503 || !strings.Contains(body, "does not answer") {
		t.Errorf("without the bucket: %d %q", code, body)
	}
	if code, _ := get(t, url+"/healthz"); code != 200 {
		t.Errorf("healthz without the bucket: %d", code)
	}
}

func TestBothAPIsServeOneStore(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	d := "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	stream, err := pb.NewBlobsClient(s.Conn).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.BlobsWriteRequest{Repository: "a", Digest: d, Data: []byte("hello"), Finish: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, "http://"+s.HTTP+"/v2/a/blobs/"+d); code != 200 || body != "hello" {
		t.Errorf("%d %q", code, body)
	}
}

func TestHealthService(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := healthpb.NewHealthClient(s.Conn)
	for _, name := range []string{"", "lamina.v1.Blobs", "lamina.v1.Images", "lamina.v1.Snapshots", "lamina.v1.Usage", "lamina.v1.Maintenance"} {
		r, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", name, r, err)
		}
	}
	if _, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
}

// Whoever watches is told that the server stops, and does not hold it up.
func TestWatchersAreTold(t *testing.T) {
	s := servertest.Start(t, servertest.Options{Config: server.Config{StopWithin: time.Hour}})
	watch, err := healthpb.NewHealthClient(s.Conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "lamina.v1.Blobs"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v %v", r, err)
	}
	s.Stop(t)
	if r, err := watch.Recv(); err != nil || r.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v %v", r, err)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("the watch goes on")
	}
}

func TestReflection(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	stream, err := reflectionpb.NewServerReflectionClient(s.Conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, svc := range r.GetListServicesResponse().GetService() {
		found[svc.Name] = true
	}
	for _, name := range []string{"lamina.v1.Blobs", "lamina.v1.Images", "lamina.v1.Snapshots", "lamina.v1.Usage", "lamina.v1.Maintenance"} {
		if !found[name] {
			t.Errorf("%s is not listed in %v", name, found)
		}
	}
}

// An upload that is under way when the server stops may end; and what has
// arrived of one that does not is kept.
func TestStopWithUploadsUnderWay(t *testing.T) {
	b := memory.New(memory.Options{})
	s := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{StopWithin: 200 * time.Millisecond}})
	stream, err := pb.NewBlobsClient(s.Conn).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.BlobsWriteRequest{Repository: "a", Data: []byte("first part, ")}); err != nil {
		t.Fatal(err)
	}
	up, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(t)

	next := servertest.Start(t, servertest.Options{Bucket: b})
	st, err := pb.NewBlobsClient(next.Conn).Status(t.Context(), &pb.BlobsStatusRequest{Repository: "a", UploadId: up.UploadId})
	if err != nil || st.Offset != int64(len("first part, ")) {
		t.Errorf("%v %v", st, err)
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, c := range map[string]struct {
		cfg   server.Config
		wants []string
	}{
		"in use":      {server.Config{HTTP: l.Addr().String()}, []string{"--http", l.Addr().String(), "another process"}},
		"not ours":    {server.Config{HTTP: "127.0.0.1:0", GRPC: "192.0.2.1:1"}, []string{"--grpc", "192.0.2.1:1", "does not have that address"}},
		"no address":  {server.Config{HTTP: "127.0.0.1:0", GRPC: server.Off, Metrics: "nonsense"}, []string{"--metrics", "nonsense", "HOST:PORT"}},
		"no such url": {server.Config{HTTP: "127.0.0.1:0", GRPC: server.Off, Metrics: server.Off, Bucket: "ftp://x"}, []string{"ftp"}},
	} {
		err := server.Run(t.Context(), c.cfg)
		if err == nil {
			t.Fatalf("%s: runs", name)
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if name == "in use" && !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%v", err)
		}
	}
}

// The whole way in: open, probe, serve, on each kind of bucket.
func TestRunOnEachKindOfBucket(t *testing.T) {
	for name, url := range map[string]string{
		"memory": "memory:", "file": "file://" + t.TempDir(), "s3": servers.MinIO(t),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := servertest.Start(t, servertest.Options{Config: server.Config{Bucket: url, Logger: slog.New(slog.NewTextHandler(&log, nil))}})
			if code, body := get(t, "http://"+s.Metrics+"/readyz"); code != 200 {
				t.Errorf("%d %s", code, body)
			}
			s.Stop(t)
			if !strings.Contains(log.String(), "bucket is fit") {
				t.Errorf("not probed: %s", &log)
			}
		})
	}
}
