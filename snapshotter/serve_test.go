package snapshotter_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// quiet is for tests that are not about what is logged.
var quiet = slog.New(slog.DiscardHandler)

// tempDir is a folder with a path short enough for sockets, which t.TempDir is
// not when the test has a long name.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lamina-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve runs the service in this process until stop is called.
func serve(cfg snapshotter.Config) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- snapshotter.Run(ctx, cfg) }()
	return func() error {
		cancel()
		return <-done
	}
}

// dial connects to a socket, which may not be there yet.
func dial(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// api is all that a client can call.
type api interface {
	snapshots.Snapshotter
	snapshots.Cleaner
}

// client is what containerd uses to talk to a proxy plugin.
func client(t testing.TB, socket string) api {
	t.Helper()
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(dial(t, socket)), "lamina").(api)
}

// startOverlay serves a new overlay snapshotter, until the test ends.
func startOverlay(t testing.TB, root, socket string) api {
	t.Helper()
	_, stop, err := openAndServe(root, socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return client(t, socket)
}

func openAndServe(root, socket string) (_ *overlay.Snapshotter, stop func() error, err error) {
	return openAndServeWith(root, socket, quiet)
}

func openAndServeWith(root, socket string, log *slog.Logger) (_ *overlay.Snapshotter, stop func() error, err error) {
	sn, err := overlay.Open(overlay.Config{Root: root, Log: log})
	if err != nil {
		return nil, nil, err
	}
	end := serve(snapshotter.Config{Snapshots: sn, Socket: socket, Log: log})
	return sn, func() error { return errors.Join(end(), sn.Close()) }, nil
}

func socketIn(dir string) string { return filepath.Join(dir, "s", "sn.sock") }
