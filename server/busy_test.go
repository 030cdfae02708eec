package server_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/s3"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/registry"
	"github.com/laminastore/lamina/server/servertest"
)

// throttledMinIO is a bucket that makes short pauses before it tries again.
func throttledMinIO(t *testing.T) (bucket.Bucket, *servers.Throttle) {
	t.Helper()
	th := servers.Throttled(t, servers.MinIO(t))
	b, err := s3.Open(t.Context(), s3.Options{
		Bucket: th.Bucket(), Endpoint: th.Endpoint(), Region: "us-east-1", Create: true, Pause: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, th
}

// withoutBucket are the routes and calls that do not ask the bucket for
// anything. All others must say what they do when it is busy.
var withoutBucket = map[string]bool{"base": true, "token": true}

// A bucket that asks every server to slow down is no fault of the server: each
// route and each call says so, and when to come back. And what it does so for a
// moment nobody notices.
//
// Each try is made on a server of its own: one that has seen the objects before
// would not have to ask for them.
func TestEveryRouteAndCallOnABusyBucket(t *testing.T) {
	t.Parallel()
	b, th := throttledMinIO(t)
	w := prepare(t, servertest.Start(t, servertest.Options{Bucket: b}))
	requests, calls := w.requests(), w.calls()
	for _, name := range registry.Routes() {
		if _, ok := requests[name]; !ok && !withoutBucket[name] {
			t.Errorf("route %s has no request here", name)
		}
	}
	for _, s := range []grpc.ServiceDesc{pb.Blobs_ServiceDesc, pb.Images_ServiceDesc, pb.Snapshots_ServiceDesc, pb.Usage_ServiceDesc, pb.Maintenance_ServiceDesc} {
		for _, m := range s.Methods {
			if name := s.ServiceName + "/" + m.MethodName; calls[name] == nil {
				t.Errorf("%s has no call here", name)
			}
		}
		for _, m := range s.Streams {
			if name := s.ServiceName + "/" + m.StreamName; calls[name] == nil {
				t.Errorf("%s has no call here", name)
			}
		}
	}

	// A server asks the bucket for its realms when it starts: these have started.
	started := map[string]*servertest.Server{}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(requests)), slices.Collect(maps.Keys(calls))) {
		started[name] = servertest.Start(t, servertest.Options{Bucket: b})
	}
	th.RefuseAll()
	t.Run("refused", func(t *testing.T) {
		for name, r := range requests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r.busy(t, name, started[name].HTTP)
			})
		}
		for name, call := range calls {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				busy(t, name, call(started[name].Conn))
			})
		}
	})
	th.Pass()
	for name, r := range requests {
		s := servertest.Start(t, servertest.Options{Bucket: b})
		th.RefuseFirst(1)
		r.succeeds(t, name, s.HTTP)
		if th.Refused() == 0 {
			t.Errorf("%s: nothing was refused", name)
		}
		s.Stop(t)
	}
	for name, call := range calls {
		s := servertest.Start(t, servertest.Options{Bucket: b})
		th.RefuseFirst(1)
		if err := call(s.Conn); err != nil {
			t.Errorf("%s: a moment in which the bucket was busy was noticed: %v", name, err)
		}
		if th.Refused() == 0 {
			t.Errorf("%s: nothing was refused", name)
		}
		s.Stop(t)
	}
}

// A request is one to a route; want is its status when all is well.
type request struct {
	method, path string
	body         []byte
	header       string // "Name: value"
	want         int
}

func (r request) do(t *testing.T, name, address string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+address+r.path, strings.NewReader(string(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	if k, v, ok := strings.Cut(r.header, ": "); ok {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return resp, string(body)
}

func (r request) busy(t *testing.T, name, address string) {
	t.Helper()
	resp, body := r.do(t, name, address)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || r.method != "HEAD" && !strings.Contains(body, "fewer requests") {
		t.Errorf("%s: %d, Retry-After %q, %s", name, resp.StatusCode, resp.Header.Get("Retry-After"), body)
	}
}

func (r request) succeeds(t *testing.T, name, address string) {
	t.Helper()
	if resp, body := r.do(t, name, address); resp.StatusCode != r.want {
		t.Errorf("%s: a moment in which the bucket was busy was noticed: %d %s, want %d", name, resp.StatusCode, body, r.want)
	}
}

// busy fails the test unless err says that the bucket is, and when to try again.
func busy(t *testing.T, name string, err error) {
	t.Helper()
	s := status.Convert(err)
	var reason string
	var again *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.Reason
		case *errdetails.RetryInfo:
			again = d
		}
	}
	if s.Code() != codes.Unavailable || reason != "BUCKET_BUSY" || again.GetRetryDelay().AsDuration() <= 0 {
		t.Errorf("%s: %v, reason %q, %v", name, err, reason, again)
	}
}

// path is a path of the repository that prepare fills.
func path(format string, args ...any) string {
	return "/v2/demo/app/" + fmt.Sprintf(format, args...)
}
