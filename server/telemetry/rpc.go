package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// An RPCs measures the RPCs of a gRPC server. Make it with Telemetry.RPCs, give
// the server its Options, and call Serves when all services are registered.
type RPCs struct {
	t     *Telemetry
	known atomic.Pointer[map[string]string] // "/package.Service/Method" → label
}

// RPCs returns what measures a server.
func (t *Telemetry) RPCs() *RPCs { return &RPCs{t: t} }

// Options are those of the server.
func (r *RPCs) Options() []grpc.ServerOption {
	if r.t == nil {
		return nil
	}
	o := []grpc.ServerOption{grpc.StatsHandler(r)}
	if r.t.traces != nil {
		o = append(o, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(r.t.traces), otelgrpc.WithPropagators(r.t.carried),
			otelgrpc.WithMeterProvider(metricnoop.NewMeterProvider()),
			otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
		)))
	}
	return o
}

// Serves says what is served; an RPC that is not is refused, and not counted.
func (r *RPCs) Serves(services map[string]grpc.ServiceInfo) {
	known := map[string]string{}
	for service, info := range services {
		for _, m := range info.Methods {
			label := service + "/" + m.Name
			known["/"+service+"/"+m.Name] = label
			if r.t != nil { // there from the start, so that an alert sees the first one
				r.t.metrics.rpcRequests.WithLabelValues(label, codes.DataLoss.String())
			}
		}
	}
	r.known.Store(&known)
}

type rpcKey struct{}

// TagRPC implements stats.Handler.
func (r *RPCs) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if known := r.known.Load(); known != nil {
		if label, ok := (*known)[info.FullMethodName]; ok {
			return context.WithValue(ctx, rpcKey{}, label)
		}
	}
	return ctx // of the caller's making: not counted
}

// HandleRPC implements stats.Handler.
func (r *RPCs) HandleRPC(ctx context.Context, s stats.RPCStats) {
	rpc, ok := ctx.Value(rpcKey{}).(string)
	if !ok {
		return
	}
	m := r.t.metrics
	switch s := s.(type) {
	case *stats.Begin:
		m.rpcRunning.WithLabelValues(rpc).Inc()
	case *stats.InPayload:
		m.rpcReceived.WithLabelValues(rpc).Add(float64(s.Length))
	case *stats.OutPayload:
		m.rpcSent.WithLabelValues(rpc).Add(float64(s.Length))
	case *stats.End:
		m.rpcRequests.WithLabelValues(rpc, status.Code(s.Error).String()).Inc()
		m.rpcDuration.WithLabelValues(rpc).Observe(time.Since(s.BeginTime).Seconds())
		m.rpcRunning.WithLabelValues(rpc).Dec()
	}
}

// TagConn implements stats.Handler.
func (r *RPCs) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (r *RPCs) HandleConn(context.Context, stats.ConnStats) {}
