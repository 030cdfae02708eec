// Package server is the server of Lamina: the OCI registry and the gRPC API over
// one bucket. A process that runs it keeps nothing that is not in the bucket, so
// any number of them may serve the same one, and each may be killed at any time.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/internal/systemd"
	"github.com/laminastore/lamina/server/registry"
	"github.com/laminastore/lamina/server/rpc"
	"github.com/laminastore/lamina/server/telemetry"
)

// RunOn serves a bucket that is open already and has been probed, until ctx
// ends; then it lets what is under way come to its end (Config.StopWithin) and
// returns nil. The caller closes the bucket. Config.Bucket is not looked at.
func RunOn(ctx context.Context, b bucket.Bucket, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	d, err := openDoors(ctx, cfg)
	if err != nil {
		return err
	}
	return runBehind(ctx, b, d, cfg)
}

// runBehind is RunOn with the doors open. It closes them.
func runBehind(ctx context.Context, b bucket.Bucket, d *doors, cfg Config) error {
	if err := agreeOnRealms(ctx, b, cfg); err != nil {
		d.close()
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	sec, err := secure(ctx, b, d, cfg)
	if err != nil {
		d.close()
		return err
	}
	if err := cfg.Collect.open(cfg.Logger); err != nil {
		d.close()
		return errors.Join(err, sec.close(ctx))
	}
	s := build(b, d, sec, cfg)
	err = s.serve(ctx, d)
	return errors.Join(err, s.close())
}

// A server is everything that runs in the process.
type server struct {
	cfg     Config
	sec     security
	store   *blobstore.Store
	images  *images.Images
	checker *layers.Checker

	rpc     *rpc.Server
	http    *http.Server
	gate    gate // before http's handlers
	metrics *http.Server
	pages   *pages
	upkeep  *upkeep

	telemetry *telemetry.Telemetry
}

func build(b bucket.Bucket, d *doors, sec security, cfg Config) *server {
	t := telemetry.New(telemetry.Options{Version: cfg.Version, Traces: cfg.Traces, Logger: cfg.Logger})
	b = t.Bucket(b)
	s := &server{cfg: cfg, sec: sec, telemetry: t, pages: &pages{ready: newReadiness(b), metrics: t.ServeMetrics()}}
	s.store = blobstore.New(b, cfg.Store)
	s.checker = layers.New(s.store, layers.Options{Logger: cfg.Logger, Realms: cfg.Realms})
	s.images = images.New(s.store, s.checker, images.Options{
		Logger: cfg.Logger, AllowSparse: cfg.AllowSparse, MaxManifest: cfg.Limits.Manifest, MaxDepth: int(cfg.Limits.Depth),
	})
	nodes := fleet.New(s.store, s.images)
	s.upkeep = s.newUpkeep(nodes)
	limiter := cfg.Limits.limiter()
	s.rpc = rpc.New(rpc.Services{
		Store: s.store, Images: s.images, Fleet: nodes, Collector: s.upkeep.collector, Verifier: s.upkeep.verifier,
		Usage: s.upkeep.usage,
	}, cfg.Limits.ofRPC(rpc.Options{Access: sec.access, TLS: sec.tls("h2"), Logger: cfg.Logger, Telemetry: t, Idle: cfg.Idle}, limiter))

	t.Levels(s.levels()...)
	t.Levels(s.upkeep.levels()...)

	o := cfg.Limits.ofRegistry(registry.Options{
		Access: sec.access, Logger: cfg.Logger, Telemetry: t, IdleTimeout: cfg.Idle, GRPCPort: d.grpc.port(), Redirect: cfg.Redirect,
	}, limiter)
	if cfg.Redirect && !s.store.Presigns() {
		cfg.Logger.Warn(fmt.Sprintf("--redirect does nothing: bucket %s has no presigned URLs, so this server sends all blobs itself", b))
	}
	h := registry.New(s.store, s.images, o)
	s.http = registry.NewServer(s.gate.before(h), o)
	s.metrics = &http.Server{
		Handler: s.pages.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	return s
}

// serve serves until ctx ends or one of the doors fails.
func (s *server) serve(ctx context.Context, d *doors) error {
	g, gctx := errgroup.WithContext(ctx)
	start := func(d *door, serve func(net.Listener) error) {
		if d == nil {
			return
		}
		d.announce(s.cfg.Logger)
		g.Go(func() error {
			if err := serve(d); err != nil && !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s on %s: %w", d.what, d.Addr(), err)
			}
			return nil
		})
	}
	start(d.http, s.sec.serveHTTP(s.http))
	start(d.grpc, s.rpc.Serve)
	start(d.metrics, s.metrics.Serve)
	g.Go(func() error {
		watchRealms(gctx, s.store.Bucket(), s.cfg)
		return nil
	})
	g.Go(func() error {
		s.upkeep.run(gctx)
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		s.stop()
		return nil
	})
	if s.cfg.OnReady != nil {
		s.cfg.OnReady(Ready{
			HTTP: d.http.address(), GRPC: d.grpc.address(), Metrics: d.metrics.address(),
			Store: s.store, Images: s.images, Telemetry: s.telemetry,
		})
	}
	s.notify(systemd.Ready)
	return g.Wait()
}

// stop lets the requests under way end, and after StopWithin ends them. When it
// returns no handler runs any more.
func (s *server) stop() {
	s.notify(systemd.Stopping)
	s.cfg.Logger.Info("stopping", "within", s.cfg.StopWithin)
	s.pages.stopping.Store(true)
	s.rpc.StopServing()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StopWithin)
	defer cancel()
	var g sync.WaitGroup
	g.Go(func() {
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
			s.cfg.Logger.Warn("requests were broken off; clients resume what they were sending")
		}
		s.gate.close()
	})
	g.Go(func() { s.rpc.Shutdown(ctx) })
	g.Wait()
	_ = s.metrics.Close()
}

// close ends what the store does in the background.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.pages.ready.close()
	return errors.Join(s.checker.Close(ctx), s.store.Close(ctx), s.sec.close(ctx))
}

func (s *server) notify(state string) {
	if err := systemd.Notify(state); err != nil {
		s.cfg.Logger.Warn("the service manager was not told", "state", state, "error", err)
	}
}
