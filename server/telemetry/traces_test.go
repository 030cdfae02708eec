package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// What a caller sends, by W3C Trace Context.
const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	theirTrace  = "0af7651916cd43dd8448eb211c80319c"
	theirSpan   = "b7ad6b7169203331"
)

// lines is a log.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// line is the one with this message and request id.
func (l *lines) line(t *testing.T, msg, id string) map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := json.NewDecoder(bytes.NewReader(l.Bytes())); d.More(); {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == msg && m["request_id"] == id {
			return m
		}
	}
	t.Fatalf("no line %q with the request id %q", msg, id)
	return nil
}

// traced starts a server; spans has what it traced, once it has stopped.
func traced(t *testing.T, o servertest.Options) (s *servertest.Server, spans *tracetest.InMemoryExporter, log *lines) {
	spans, log = tracetest.NewInMemoryExporter(), &lines{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	o.Config.Traces = provider
	o.Config.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return servertest.Start(t, o), spans, log
}

// children are the names of the spans under one.
func children(all tracetest.SpanStubs, of trace.SpanContext) (names []string) {
	for _, s := range all {
		if s.Parent.SpanID() == of.SpanID() && s.SpanContext.TraceID() == of.TraceID() {
			names = append(names, s.Name)
		}
	}
	return names
}

func named(t *testing.T, all tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(all, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no span %q", name)
	}
	return all[i]
}

func attributes(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestARequestOverHTTPIsTracedIntoTheBucket(t *testing.T) {
	s, spans, log := traced(t, servertest.Options{})
	url := "http://" + s.HTTP + "/v2/a/b/blobs/"
	d := digest.FromString("hello")
	at := expect(t, 202, "POST", url+"uploads/", "").Get("Location")
	h := expect(t, 201, "PUT", "http://"+s.HTTP+at+"&digest="+string(d), "hello", "Traceparent: "+traceparent, "X-Request-Id: mine")
	expect(t, 404, "GET", url+string(digest.FromString("x")), "")
	s.Stop(t)

	all := spans.GetSpans()
	put := named(t, all, "upload-finish")
	if put.SpanContext.TraceID().String() != theirTrace || put.Parent.SpanID().String() != theirSpan || put.SpanKind != trace.SpanKindServer {
		t.Errorf("upload-finish is no child of the caller's span: %+v", put.SpanContext)
	}
	a := attributes(put)
	for k, want := range map[string]string{
		"http.request.method": "PUT", "http.route": "upload-finish", "lamina.repository": "a/b",
		"http.response.status_code": "201", "http.request.body.size": "5",
	} {
		if a[k] != want {
			t.Errorf("%s is %q, want %q", k, a[k], want)
		}
	}
	if c := children(all, put.SpanContext); !slices.Contains(c, "bucket put") {
		t.Errorf("below upload-finish: %q", c)
	}
	blob := named(t, all, "bucket put")
	if a := attributes(blob); blob.SpanKind != trace.SpanKindClient || a["lamina.bucket.outcome"] != "ok" || a["lamina.bucket.key"] == "" {
		t.Errorf("%v", a)
	}
	if l := log.line(t, "request", "mine"); l["trace_id"] != theirTrace || h.Get("X-Request-Id") != "mine" {
		t.Errorf("answered %q and logged %v", h.Get("X-Request-Id"), l)
	}
	// What a client asks for and is not there is no error of the server's.
	if get := named(t, all, "blob-pull"); get.Status.Code != codes.Unset || attributes(get)["error.type"] != "BLOB_UNKNOWN" {
		t.Errorf("%+v %v", get.Status, attributes(get))
	}
	for _, s := range all {
		if strings.HasPrefix(s.Name, "bucket ") && !s.Parent.IsValid() {
			t.Errorf("%s has no parent", s.Name)
		}
	}
}

func TestAnRPCIsTracedIntoTheBucket(t *testing.T) {
	s, spans, log := traced(t, servertest.Options{})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", traceparent, "x-request-id", "mine")
	if _, err := pb.NewBlobsClient(s.Conn).Stat(ctx, &pb.BlobsStatRequest{Repository: "a", Digest: string(digest.FromString("x"))}); err == nil {
		t.Fatal("it is there")
	}
	s.Stop(t)
	all := spans.GetSpans()
	stat := named(t, all, "lamina.v1.Blobs/Stat")
	if stat.SpanContext.TraceID().String() != theirTrace || stat.Parent.SpanID().String() != theirSpan {
		t.Errorf("no child of the caller's span: %+v", stat.SpanContext)
	}
	if c := children(all, stat.SpanContext); !slices.Contains(c, "bucket get") {
		t.Errorf("below the RPC: %q", c)
	}
	if l := log.line(t, "rpc", "mine"); l["trace_id"] != theirTrace {
		t.Errorf("logged %v", l)
	}
}

func TestFaultsOfTheBucketAreErrorsInATrace(t *testing.T) {
	b := &away{Bucket: memory.New(memory.Options{})}
	s, spans, _ := traced(t, servertest.Options{Bucket: b})
	b.gone.Store(true)
	expect(t, 503, "GET", "http://"+s.HTTP+"/v2/a/blobs/"+string(digest.FromString("x")), "")
	s.Stop(t)
	all := spans.GetSpans()
	for _, name := range []string{"blob-pull", "bucket get"} {
		if s := named(t, all, name); s.Status.Code != codes.Error || s.Status.Description == "" {
			t.Errorf("%s: %+v", name, s.Status)
		}
	}
}

func TestWithoutATraceTheLogHasNoTraceID(t *testing.T) {
	log := &lines{}
	s := servertest.Start(t, servertest.Options{Config: server.Config{Logger: slog.New(slog.NewJSONHandler(log, nil))}})
	expect(t, 200, "GET", "http://"+s.HTTP+"/v2/", "", "X-Request-Id: mine", "Traceparent: "+traceparent)
	s.Stop(t)
	if l := log.line(t, "request", "mine"); l["trace_id"] != nil {
		t.Errorf("logged %v", l)
	}
}
