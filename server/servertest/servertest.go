// Package servertest starts real servers inside a test.
package servertest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server"
)

// Options of a server under test; the zero value is one on a bucket in memory.
type Options struct {
	// Bucket is what the server works on; several servers may share one. nil
	// means Config.Bucket if that is set, else a new bucket in memory.
	Bucket bucket.Bucket
	// Config is the server's. Addresses that are empty become free ports of
	// the loopback interface, a Logger that is nil the test's log, and a
	// LinkLease of 0 becomes 20 ms, so that deleting takes no second. A server
	// does not collect by itself unless Collect.Every is set.
	Config server.Config
	// TLS is what Conn is connected with, to a server that speaks it.
	TLS *tls.Config
}

// A Server is a server that runs until the test ends, or Stop.
type Server struct {
	// Ready has the addresses, and the store behind them.
	server.Ready
	// Conn is connected to the gRPC API. It takes messages of 16 MiB.
	Conn *grpc.ClientConn

	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Start starts a server, and returns when it answers. The test fails if it does
// not start, or ends with an error.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	cfg := o.Config
	for _, address := range []*string{&cfg.HTTP, &cfg.GRPC, &cfg.Metrics} {
		if *address == "" {
			*address = "127.0.0.1:0"
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if cfg.Store.LinkLease == 0 {
		cfg.Store.LinkLease = 20 * time.Millisecond
	}
	if cfg.Collect.Every == 0 {
		cfg.Collect.Every = -1
	}
	if cfg.StopWithin == 0 {
		cfg.StopWithin = 5 * time.Second
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{stop: stop, done: make(chan struct{})}
	ready := make(chan server.Ready, 1)
	also := cfg.OnReady
	cfg.OnReady = func(r server.Ready) {
		if also != nil {
			also(r)
		}
		ready <- r
	}
	b := o.Bucket
	if b == nil && cfg.Bucket == "" {
		b = memory.New(memory.Options{})
	}
	go func() {
		defer close(s.done)
		if b != nil {
			s.err = server.RunOn(ctx, b, cfg)
		} else {
			s.err = server.Run(ctx, cfg)
		}
	}()
	select {
	case s.Ready = <-ready:
	case <-s.done:
		t.Fatalf("server did not start: %v", s.err)
	}
	t.Cleanup(func() { s.Stop(t) })
	if s.GRPC != "" {
		s.Conn = DialTLS(t, s.GRPC, o.TLS)
	}
	return s
}

// Stop stops the server as a signal would, and waits for its end. Calling it
// again does nothing.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.stop()
	<-s.done
	if s.err != nil {
		t.Errorf("server ended with: %v", s.err)
		s.err = nil
	}
}

// Dial connects to a server's gRPC API until the test ends.
func Dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	return DialTLS(t, address, nil)
}

// DialTLS is Dial with TLS, unless that is nil.
func DialTLS(t testing.TB, address string, config *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
