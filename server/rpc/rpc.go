// Package rpc serves the gRPC API (proto/lamina/v1) over a store.
//
// The services check what comes in, call the store, and return its errors as
// they are; one interceptor turns them into what a client gets (see errors.go).
package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/usage"
	"github.com/laminastore/lamina/blobstore/verify"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/cursor"
	"github.com/laminastore/lamina/server/limit"
	"github.com/laminastore/lamina/server/telemetry"
)

// Services are what the API is served from. All are needed.
type Services struct {
	Store  *blobstore.Store
	Images *images.Images
	Fleet  *fleet.Fleet
	Usage  *usage.Counter
	// Collector and Verifier do what operators ask for.
	Collector *collect.Collector
	Verifier  *verify.Verifier
}

// Options of a Server; the zero value means the defaults.
type Options struct {
	Logger *slog.Logger // slog.Default()
	// Telemetry measures the calls; nil: nothing does.
	Telemetry *telemetry.Telemetry
	// Idle is how long a stream may stand still because of its client: 1 min.
	Idle time.Duration
	// MinRate is how many bytes a second a client must send or take, as long as
	// the server waits for it, over each Idle: 0 means any.
	MinRate int64
	// MaxMessage is how many bytes a message from a client may have: 8 MiB.
	MaxMessage int
	// MaxStreams is how many calls one connection may make at once: 128.
	MaxStreams int
	// Limiter counts calls; nil means that none is refused.
	Limiter *limit.Limiter
	// Access says who may do what: access.AllowAll().
	Access *access.Control
	// TLS, if set, is spoken on the listener.
	TLS *tls.Config
}

const (
	defaultMaxMessage = 8 << 20 // a manifest of 4 MiB with room
	// defaultMaxStreams bounds what one connection does at once, and with the
	// windows below what it takes in memory.
	defaultMaxStreams = 128
	// Windows are how much a client may send ahead. A connection's fills a link
	// of 1 Gbit/s with 30 ms; gRPC's own estimate would grow to 16 MiB.
	streamWindow     = 2 << 20
	connectionWindow = 4 << 20
)

// A Server serves the API on one listener.
type Server struct {
	grpc        *grpc.Server
	health      *healthService
	maintenance *maintenance
	// streams are the goroutines that receive for a handler. Each ends with its
	// stream, and so after its handler.
	streams sync.WaitGroup
}

// New returns a Server that does not listen yet.
func New(s Services, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	if o.Access == nil {
		o.Access = access.AllowAll()
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	g := &guard{access: o.Access}
	m := limiter{o.Limiter}
	srv := &Server{}
	measured := o.Telemetry.RPCs()
	srv.grpc = grpc.NewServer(append(measured.Options(),
		grpc.Creds(creds),
		grpc.ChainUnaryInterceptor(unary(o.Logger), m.enterUnary, g.unary, m.admittedUnary),
		grpc.ChainStreamInterceptor(streaming(o.Logger), m.enterStream, g.stream, m.admittedStream),
		grpc.MaxRecvMsgSize(cmp.Or(o.MaxMessage, defaultMaxMessage)),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(uint32(cmp.Or(o.MaxStreams, defaultMaxStreams))),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.ConnectionTimeout(20*time.Second),
		// A client that is gone without a word is noticed in 40 s, so that its
		// upload is free for the connection it comes back with.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)...)
	pb.RegisterBlobsServer(srv.grpc, &blobs{store: s.Store, idle: o.Idle, minRate: o.MinRate, streams: &srv.streams})
	pb.RegisterImagesServer(srv.grpc, &imageService{images: s.Images, cursors: cursor.New(s.Store.Records())})
	pb.RegisterSnapshotsServer(srv.grpc, &snapshots{fleet: s.Fleet, open: o.Access.Open()})
	pb.RegisterUsageServer(srv.grpc, &usageService{usage: s.Usage})
	srv.maintenance = newMaintenance(s, o.Idle, &srv.streams)
	pb.RegisterMaintenanceServer(srv.grpc, srv.maintenance)
	var names []string
	for name := range srv.grpc.GetServiceInfo() {
		names = append(names, name)
	}
	srv.health = newHealth(names)
	healthpb.RegisterHealthServer(srv.grpc, srv.health)
	reflection.Register(srv.grpc)
	measured.Serves(srv.grpc.GetServiceInfo())
	return srv
}

// Serve answers on l until Shutdown, and then returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) { // before it began
		return nil
	}
	return err
}

// StopServing makes the health service say NOT_SERVING, so that balancers send
// nothing more here, and ends collections and verifications that somebody has
// asked for. Other calls are answered as before.
func (s *Server) StopServing() {
	s.health.stop()
	s.maintenance.stopOnce()
}

// Shutdown takes no new calls and waits for those under way, until ctx ends:
// then they are broken off. Uploads that are broken off can be resumed. When it
// returns no handler runs any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.StopServing()
	stop := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop()
	stop()
	s.streams.Wait()
}
