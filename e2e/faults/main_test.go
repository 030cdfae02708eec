package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/server"
)

// serverEnv has the settings of the server that this program is then: `lamina
// serve` whose times are so short that a collector has everything to do within
// a test.
const serverEnv = "LAMINA_FAULTS_SERVER"

func TestMain(m *testing.M) {
	if raw := os.Getenv(serverEnv); raw != "" {
		if err := beServer(raw); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if build.dir != "" {
		_ = os.RemoveAll(filepath.Clean(build.dir))
	}
	os.Exit(code)
}

// settings of a server that is killed.
type settings struct {
	Bucket              string
	HTTP, GRPC, Metrics string
	Times               times
	PartSize            int64
}

// fullEvery says which of its cycles a server makes full ones.
const fullEvery = 4

// times are the blobstore.Options of the same names.
type times struct {
	Grace, Drain, Skew, PublishWithin, LinkLease, RecordCache time.Duration
}

func (s settings) options() blobstore.Options {
	return blobstore.Options{
		Grace: s.Times.Grace, Drain: s.Times.Drain, Skew: s.Times.Skew, PublishWithin: s.Times.PublishWithin,
		LinkLease: s.Times.LinkLease, RecordCache: s.Times.RecordCache, PartSize: s.PartSize,
	}
}

func beServer(raw string) error {
	var s settings
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg := server.Config{
		Bucket: s.Bucket, HTTP: s.HTTP, GRPC: s.GRPC, Metrics: s.Metrics, Logger: log,
		Store: s.options(), StopWithin: 10 * time.Second,
		Collect: server.Collect{Every: -1},
	}
	// What works on the bucket in the background ends before the server closes it.
	serving, end := context.WithCancel(context.Background())
	defer end()
	var collecting sync.WaitGroup
	context.AfterFunc(ctx, func() {
		collecting.Wait()
		end()
	})
	cfg.OnReady = func(r server.Ready) {
		collecting.Go(func() { collectAlways(ctx, r, log) })
		collecting.Go(func() { verifyAlways(ctx, r, log) })
	}
	err := server.Run(serving, cfg)
	stop()
	collecting.Wait()
	return err
}

// collectAlways runs one cycle after the other, as by hand: without the lease, which
// would keep the other servers from it for a while when this one is killed.
func collectAlways(ctx context.Context, r server.Ready, log *slog.Logger) {
	c := collect.New(r.Store, r.Images, fleet.New(r.Store, r.Images), collect.Options{Logger: log, Parallel: 4})
	for n := 1; ctx.Err() == nil; n++ {
		if _, err := c.Run(ctx, collect.RunOptions{Full: n%fullEvery == 0}); err != nil && ctx.Err() == nil {
			log.Error("a collection failed", "error", err)
		}
		_ = r.Store.Clock().Sleep(ctx, 100*time.Millisecond)
	}
}

// verifyAlways reads everything back again and again.
func verifyAlways(ctx context.Context, r server.Ready, log *slog.Logger) {
	v := verify.New(r.Store, r.Images, verify.Options{Logger: log, SaveBlobs: 5})
	for ctx.Err() == nil {
		report, err := v.Run(ctx, verify.RunOptions{Parallel: 1})
		if err != nil && ctx.Err() == nil {
			log.Error("a verification failed", "error", err)
		}
		for _, f := range report.Findings {
			if report.Bad > 0 {
				log.Error(found, "finding", f)
			}
		}
		_ = r.Store.Clock().Sleep(ctx, 300*time.Millisecond)
	}
}

// found is what a server logs when something is not as it should be.
const found = "verification found something"
