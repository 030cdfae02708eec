package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/server/telemetry"
)

// away is a bucket that may stop answering.
type away struct {
	*memory.Bucket
	gone atomic.Bool
}

func (a *away) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if a.gone.Load() {
		return nil, bucket.Info{}, fmt.Errorf("test: %w", bucket.ErrUnavailable)
	}
	return a.Bucket.Get(ctx, key, off, n)
}

// A receiver is a collector of traces, as the OTLP specification has it.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	services []string
	spans    []string
}

func (r *receiver) Export(_ context.Context, m *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range m.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" || a.Key == "service.version" {
				r.services = append(r.services, a.Value.GetStringValue())
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				r.spans = append(r.spans, s.Name)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) overGRPC(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, r)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

func (r *receiver) overHTTP(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var m collector.ExportTraceServiceRequest
		b, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(b, &m)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(req.URL, err), http.StatusBadRequest)
			return
		}
		answer, _ := r.Export(req.Context(), &m)
		b, _ = proto.Marshal(answer)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// clear takes away what the environment of the test says of traces.
func clear(t *testing.T) {
	for _, name := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME",
		"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER",
	} {
		t.Setenv(name, "")
	}
}

func TestTracesAreExportedOverOTLP(t *testing.T) {
	for protocol, listen := range map[string]func(*receiver, *testing.T) string{
		"grpc": (*receiver).overGRPC, "http/protobuf": (*receiver).overHTTP, "": (*receiver).overHTTP,
	} {
		t.Run(protocol, func(t *testing.T) {
			clear(t)
			r := &receiver{}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listen(r, t))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			s := servertest.Start(t, servertest.Options{Config: server.Config{Bucket: "memory:", Version: "1.2.3"}})
			expect(t, 200, "GET", "http://"+s.HTTP+"/v2/_catalog", "")
			s.Stop(t) // sends what has not been sent
			r.mu.Lock()
			defer r.mu.Unlock()
			if !slices.Contains(r.spans, "catalog") || !slices.Contains(r.spans, "bucket list") {
				t.Errorf("received the spans %q", r.spans)
			}
			if !slices.Contains(r.services, "lamina") || !slices.Contains(r.services, "1.2.3") {
				t.Errorf("they are of %q", r.services)
			}
		})
	}
}

func TestTracesAreOffUnlessTheEnvironmentHasAnEndpoint(t *testing.T) {
	const endpoint = "http://127.0.0.1:1"
	for _, c := range []struct {
		env  map[string]string
		on   bool
		fail bool
	}{
		{nil, false, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SDK_DISABLED": "true"}, false, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"}, false, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, true, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "otlp"}, true, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "zipkin"}, false, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, false, true},
	} {
		t.Run(fmt.Sprint(c.env), func(t *testing.T) {
			clear(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			e, err := telemetry.OpenExporter(t.Context(), "", nil)
			if (e != nil) != c.on || (err != nil) != c.fail {
				t.Errorf("%v %v", e, err)
			}
			if e != nil {
				_ = e.Shutdown(t.Context())
			}
		})
	}
}
