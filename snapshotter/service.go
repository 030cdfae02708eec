// Package snapshotter is Lamina's process on a node: it serves containerd's
// snapshots API, containerd.services.snapshots.v1, on a unix socket, for
// containerd to use as a proxy plugin.
//
//	sn, err := overlay.Open(overlay.Config{Root: "/var/lib/lamina-snapshotter"})
//	…
//	defer sn.Close()
//	err = snapshotter.Run(ctx, snapshotter.Config{
//		Snapshots: sn,
//		Socket:    "/run/lamina/snapshotter.sock",
//	})
//
// The snapshots are kept by package overlay. What belongs to the socket is
// here: who may have it, how long a call may take, what is logged of it. Other
// services of the node are registered on the same socket with Config.Register.
package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/snapshots"
	"google.golang.org/grpc"
)

// Config says what to serve and where.
type Config struct {
	// Snapshots is served. The caller closes it, after Run has returned.
	Snapshots snapshots.Snapshotter
	// Socket is the path to listen on, at most 107 bytes.
	Socket string
	// Register adds other services to the socket.
	Register []func(*grpc.Server)
	// Deadlines say how long a call may take, by full method name
	// ("/package.Service/Method"), for other services, or in place of the default.
	// Methods that are not named here or known to the package get 10 s.
	Deadlines map[string]time.Duration
	// Log is told of every request. Nil means slog.Default().
	Log *slog.Logger
}

const (
	// maxMessage is what containerd's own services take. gRPC's 4 MiB are too few
	// for some of its calls.
	maxMessage = 16 << 20
	// graceful is how long calls may go on after the context has ended.
	graceful = 5 * time.Second
)

// Run serves until the context ends, and then lets the calls that are being
// answered finish. It tells systemd when it is ready. Mounts that were handed
// out stay, and containers run on.
func Run(ctx context.Context, cfg Config) error {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	socket, err := listen(ctx, cfg.Socket)
	if err != nil {
		return err
	}
	defer socket.Close()

	limits := newDeadlines(cfg.Deadlines, log)
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		// Stopping waits for those who have connected and said nothing.
		grpc.ConnectionTimeout(graceful),
		grpc.ChainUnaryInterceptor(logUnary(log), limits.unary),
		grpc.ChainStreamInterceptor(logStream(log), limits.stream),
	)
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(cfg.Snapshots))
	for _, register := range cfg.Register {
		register(server)
	}

	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	log.Info("snapshotter is ready", "socket", cfg.Socket)
	if err := notify("READY=1"); err != nil {
		log.Warn("systemd was not told that the snapshotter is ready", "error", err)
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", cfg.Socket, err)
	case <-ctx.Done():
	}
	_ = notify("STOPPING=1")
	stop(server)
	// Stopped is what it says when it was not even serving yet.
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", cfg.Socket, err)
	}
	// A call that ran out of time has been answered, and may still be at work.
	if !limits.wait(graceful) {
		log.Warn("some calls are still at work; leaving them behind")
	}
	return nil
}

// stop lets calls finish, for a while.
func stop(server *grpc.Server) {
	cut := time.AfterFunc(graceful, server.Stop)
	defer cut.Stop()
	server.GracefulStop()
}
