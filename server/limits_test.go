package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

func limited(t *testing.T, change func(*server.Limits)) *servertest.Server {
	t.Helper()
	l := server.DefaultLimits()
	change(&l)
	return servertest.Start(t, servertest.Options{Config: server.Config{Limits: l}})
}

// hold opens an upload over gRPC, which is under way until end is called.
func hold(t *testing.T, s *servertest.Server) (end func()) {
	t.Helper()
	stream, err := pb.NewBlobsClient(s.Conn).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.BlobsWriteRequest{Repository: "demo/app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
	}
}

// tooMany fails the test unless err says so, and when to try again.
func tooMany(t *testing.T, what string, err error) {
	t.Helper()
	var reason string
	var again *errdetails.RetryInfo
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.Reason
		case *errdetails.RetryInfo:
			again = d
		}
	}
	if status.Code(err) != codes.ResourceExhausted || reason != "TOO_MANY_REQUESTS" || again.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("%s: %v, reason %q, %v", what, err, reason, again)
	}
}

func (r request) tooMany(t *testing.T, address string) {
	t.Helper()
	resp, body := r.do(t, r.path, address)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"TOOMANYREQUESTS"`) {
		t.Errorf("%s %s: %d, Retry-After %q, %s", r.method, r.path, resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
}

func (r request) is(t *testing.T, address string, want int, says string) {
	t.Helper()
	if resp, body := r.do(t, r.path, address); resp.StatusCode != want || !strings.Contains(body, says) {
		t.Errorf("%s %s: %d %s, want %d %q", r.method, r.path, resp.StatusCode, body, want, says)
	}
}

var ask = request{method: "GET", path: "/v2/"}

// A caller has no more of both APIs together than of one.
func TestRequestsAtOnceAreCountedOnBothAPIs(t *testing.T) {
	for name, change := range map[string]func(*server.Limits){
		"of all":        func(l *server.Limits) { l.Requests = 1 },
		"of one caller": func(l *server.Limits) { l.RequestsPerCaller = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := limited(t, change)
			end := hold(t, s)
			ask.tooMany(t, s.HTTP)
			_, err := pb.NewImagesClient(s.Conn).List(t.Context(), &pb.ImagesListRequest{})
			tooMany(t, "List", err)
			// Whoever watches over the server is let in.
			if _, err := healthpb.NewHealthClient(s.Conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Error(err)
			}
			end()
			ask.is(t, s.HTTP, 200, "")
		})
	}
}

func TestUploadsAtOnceAreCountedOnBothAPIs(t *testing.T) {
	for name, change := range map[string]func(*server.Limits){
		"of all":        func(l *server.Limits) { l.Uploads = 1 },
		"of one caller": func(l *server.Limits) { l.UploadsPerCaller = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := limited(t, change)
			end := hold(t, s)
			push := request{method: "POST", path: path("blobs/uploads/?digest=%s", digest.FromString("x")), body: []byte("x")}
			push.tooMany(t, s.HTTP)
			stream, err := pb.NewBlobsClient(s.Conn).Write(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			tooMany(t, "Write", err)
			ask.is(t, s.HTTP, 200, "") // what brings no bytes is no upload
			end()
			push.is(t, s.HTTP, 201, "")
		})
	}
}

func TestTheRateOfRequestsIsBounded(t *testing.T) {
	s := limited(t, func(l *server.Limits) { l.RatePerCaller = 1 })
	// More than one a second, however slow this machine is: all at once.
	codes := make(chan int)
	const n = 50
	for range n {
		go func() {
			resp, err := http.Get("http://" + s.HTTP + "/v2/")
			if err != nil {
				codes <- 0
				return
			}
			resp.Body.Close()
			codes <- resp.StatusCode
		}()
	}
	got := map[int]int{}
	for range n {
		got[<-codes]++
	}
	if got[200] == 0 || got[429] == 0 || got[200]+got[429] != n {
		t.Errorf("%v", got)
	}
}

func TestSizesAreBounded(t *testing.T) {
	s := limited(t, func(l *server.Limits) { l.Blob, l.Manifest, l.Depth, l.Header = 1<<20, 8<<10, 8, 4<<10 })
	big := make([]byte, 1<<20+1)
	d := digest.FromBytes(big)
	request{method: "POST", path: path("blobs/uploads/?digest=%s", d), body: big}.is(t, s.HTTP, 413, "--max-blob")
	_, err := pb.NewBlobsClient(s.Conn).Stat(t.Context(), &pb.BlobsStatRequest{Repository: "demo/app", Digest: d.String()})
	if status.Code(err) != codes.NotFound {
		t.Errorf("a blob that is too large is there: %v", err)
	}
	// Nor in pieces, whose sum nobody has announced.
	resp, _ := request{method: "POST", path: path("blobs/uploads/")}.do(t, "start", s.HTTP)
	at := resp.Header.Get("Location")
	request{method: "PATCH", path: at, body: big[:700_000]}.is(t, s.HTTP, 202, "")
	request{method: "PATCH", path: at, body: big[:700_000]}.is(t, s.HTTP, 413, "--max-blob")
	request{method: "PATCH", path: at, body: big[:300_000]}.is(t, s.HTTP, 202, "")

	deep := strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)
	large := `{"a":"` + strings.Repeat("x", 8<<10) + `"}`
	for body, want := range map[string]struct {
		status int
		code   codes.Code
		says   string
	}{
		deep:  {400, codes.InvalidArgument, "nested more than 8 deep"},
		large: {413, codes.InvalidArgument, "8192"},
	} {
		request{method: "PUT", path: path("manifests/1"), body: []byte(body), header: "Content-Type: " + manifestType}.is(t, s.HTTP, want.status, want.says)
		_, err := pb.NewImagesClient(s.Conn).Put(t.Context(), &pb.ImagesPutRequest{Repository: "demo/app", MediaType: manifestType, Manifest: []byte(body)})
		if status.Code(err) != want.code || !strings.Contains(err.Error(), want.says) {
			t.Errorf("Put: %v, want %v %q", err, want.code, want.says)
		}
	}
	header := request{method: "GET", path: "/v2/", header: "X-Long: " + strings.Repeat("x", 16<<10)}
	header.is(t, s.HTTP, 431, "")
}

func TestWrongPasswordsAreCounted(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	users := write("htpasswd", "alice:"+string(hash)+"\n")
	file := write("access.toml", fmt.Sprintf("[users]\nhtpasswd = %q\n[[policies]]\nsubjects = [\"user:alice\"]\nrepositories = [\"**\"]\nactions = [\"pull\", \"push\"]\n", users))
	l := server.DefaultLimits()
	l.Logins = 2
	s := servertest.Start(t, servertest.Options{Config: server.Config{Limits: l, Access: file}})
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+password))
	}
	list := func(password string) error {
		ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", basic(password))
		return failed(pb.NewBlobsClient(s.Conn).Stat(ctx, &pb.BlobsStatRequest{Repository: "demo/app", Digest: digest.FromString("x").String()}))
	}
	with := func(password string) request {
		return request{method: "GET", path: "/v2/", header: "Authorization: " + basic(password)}
	}
	with("right").is(t, s.HTTP, 200, "")
	with("wrong").is(t, s.HTTP, 401, "")
	if err := list("wrong"); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
	// From here on no password is compared, for half a minute.
	with("right").tooMany(t, s.HTTP)
	tooMany(t, "Stat", list("right"))
	ask.is(t, s.HTTP, 401, "") // who shows none is told to log in, as before
}

func TestLimitsThatCannotBeUsedKeepTheServerFromStarting(t *testing.T) {
	l := server.DefaultLimits()
	l.Manifest = 1
	for name, run := range map[string]func() error{
		"Run":   func() error { return server.Run(t.Context(), server.Config{Bucket: "memory:", Limits: l}) },
		"RunOn": func() error { return server.RunOn(t.Context(), nil, server.Config{Limits: l}) },
	} {
		if err := run(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("--max-manifest is 1")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
