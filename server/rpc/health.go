package rpc

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthService is gRPC's own, but for its end: once it has told a watcher that
// the server stops, it ends the watch, which would otherwise hold up the stop.
type healthService struct {
	*health.Server
	stopping atomic.Bool
}

func newHealth(services []string) *healthService {
	h := &healthService{Server: health.NewServer()}
	for _, s := range services {
		h.SetServingStatus(s, healthpb.HealthCheckResponse_SERVING)
	}
	return h
}

// stop says NOT_SERVING from now on.
func (h *healthService) stop() {
	h.stopping.Store(true)
	h.Shutdown()
}

func (h *healthService) Watch(in *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	return h.Server.Watch(in, &endingWatch{stream, h})
}

type endingWatch struct {
	grpc.ServerStreamingServer[healthpb.HealthCheckResponse]
	health *healthService
}

func (w *endingWatch) Send(m *healthpb.HealthCheckResponse) error {
	err := w.ServerStreamingServer.Send(m)
	if err == nil && w.health.stopping.Load() && m.Status == healthpb.HealthCheckResponse_NOT_SERVING {
		return status.Error(codes.Unavailable, "server stops")
	}
	return err
}
