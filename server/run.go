package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/bucket/probe"
	"github.com/laminastore/lamina/server/telemetry"
)

const (
	// openWithin is how long the bucket may take to be opened and tried.
	openWithin = time.Minute
	// flushWithin is how long the last traces may take to be sent.
	flushWithin = 5 * time.Second
	// noteSkew is the difference of clocks from which on it is worth a warning.
	noteSkew = 30 * time.Second
)

// Run serves what cfg says until ctx ends; then it lets what is under way come
// to its end (Config.StopWithin) and returns nil. It refuses a bucket that does
// not keep what a bucket must (package probe).
//
// It is for a process that is a server and nothing else: Config.MemoryLimit is
// the whole process's.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	cfg.warnOfTimes()
	limitMemory(cfg.MemoryLimit)
	d, err := openDoors(ctx, cfg)
	if err != nil {
		return err
	}
	b, err := openBucket(ctx, cfg)
	if err != nil {
		d.close()
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	err = runTraced(ctx, b, d, cfg)
	if c, ok := b.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// runTraced is runBehind, with traces sent to where the environment says.
func runTraced(ctx context.Context, b bucket.Bucket, d *doors, cfg Config) error {
	if cfg.Traces != nil {
		return runBehind(ctx, b, d, cfg)
	}
	exporter, err := telemetry.OpenExporter(ctx, cfg.Version, cfg.Logger)
	if err != nil {
		d.close()
		return err
	}
	if exporter == nil {
		return runBehind(ctx, b, d, cfg)
	}
	cfg.Traces = exporter
	err = runBehind(ctx, b, d, cfg)
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	if ferr := exporter.Shutdown(flush); ferr != nil {
		cfg.Logger.Warn("the last traces were not exported", "error", ferr)
	}
	return err
}

// openBucket opens the bucket and finds out whether it can be relied on.
func openBucket(ctx context.Context, cfg Config) (bucket.Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	b, err := open.Bucket(ctx, cfg.Bucket)
	if err != nil {
		return nil, err
	}
	return b, fit(ctx, b, cfg)
}

// fit says what keeps b from being used, and warns of what does not.
func fit(ctx context.Context, b bucket.Bucket, cfg Config) error {
	now := time.Now
	if cfg.Store.Clock != nil {
		now = cfg.Store.Clock.Now
	}
	report, err := probe.Run(ctx, b, now)
	if err != nil {
		return err
	}
	cfg.Logger.Info("bucket is fit", "bucket", b.String(), "skew", report.Skew.Round(time.Second),
		"refuses_late_writes", report.RefusesLateWrites, "conditional_delete", report.ConditionalDelete)
	if report.Versioned {
		cfg.Logger.Warn(fmt.Sprintf("bucket %s keeps old versions: deleting frees nothing; "+
			"switch its versioning off, or let a lifecycle rule remove what is not current", b))
	}
	if report.Skew.Abs() > noteSkew {
		cfg.Logger.Warn("the clocks of this host and of the bucket differ: set them by NTP", "skew", report.Skew, "allowed", probe.MaxSkew)
	}
	return nil
}

// limitMemory makes the garbage collector work harder as the process comes near
// to limit bytes, unless the environment has settled that.
func limitMemory(limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}
