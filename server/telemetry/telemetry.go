// Package telemetry is how a server is seen from outside: its metrics, its
// traces, and what its lines of log have in common.
//
// The metrics are in docs/metrics.md. Whatever labels them comes from the tables
// of the program (routes, RPCs, codes, kinds of calls), never from a client and
// never a repository's name, so that the number of series is bounded.
//
// Traces go through a request, over HTTP or gRPC, and the calls to the bucket
// that it makes. A bucket call outside of a request has no trace.
package telemetry

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// scope is the name of what makes our spans.
const scope = "github.com/laminastore/lamina/server"

// Options of a Telemetry; the zero value means the defaults.
type Options struct {
	// Version is the program's; "": what the build has recorded.
	Version string
	// Traces gets the spans; nil: there are none.
	Traces trace.TracerProvider
	Logger *slog.Logger // slog.Default()
}

// A Telemetry measures one server. Safe for concurrent use. A nil *Telemetry
// measures nothing.
type Telemetry struct {
	registry *prometheus.Registry
	metrics  *metrics
	log      *slog.Logger

	traces  trace.TracerProvider // nil when there are none
	tracer  trace.Tracer
	carried propagation.TextMapPropagator
}

// New returns a Telemetry with a registry of its own.
func New(o Options) *Telemetry {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	t := &Telemetry{registry: prometheus.NewPedanticRegistry(), metrics: newMetrics(), log: o.Logger, traces: o.Traces}
	t.carried = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	from := o.Traces
	if from == nil {
		from = noop.NewTracerProvider()
	}
	t.tracer = from.Tracer(scope)
	t.metrics.build.WithLabelValues(o.versionOrBuild(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH).Set(1)
	t.registry.MustRegister(t.metrics.all()...)
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return t
}

// Registerer takes further metrics. A name must be in docs/metrics.md.
func (t *Telemetry) Registerer() prometheus.Registerer { return t.registry }

// Gatherer gives what is measured.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.registry }

// ServeMetrics answers a scrape. It asks nothing of the bucket.
func (t *Telemetry) ServeMetrics() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(t.log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}

// maxScrapes is how many scrapes are answered at once; others get 503.
const maxScrapes = 8

func (o Options) versionOrBuild() string {
	if o.Version != "" {
		return o.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
