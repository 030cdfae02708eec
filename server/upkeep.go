package server

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/verify"
)

// lookEvery is how often a server looks at what the last collection and the last
// verification have reported, on whichever server they ran.
const lookEvery = 5 * time.Minute

// An upkeep collects by schedule, and knows for the metrics how that goes.
type upkeep struct {
	log       *slog.Logger
	every     time.Duration // negative: never
	collector *collect.Collector
	verifier  *verify.Verifier

	started time.Time
	running atomic.Int64 // cycles on this server
	freed   atomic.Int64 // bytes, by this server since it started

	collection   atomic.Pointer[collect.Report] // the last one of any server; nil: none is known
	verification atomic.Pointer[verify.Report]
}

func (s *server) newUpkeep(f *fleet.Fleet) *upkeep {
	o := s.cfg.Collect
	u := &upkeep{log: s.cfg.Logger, every: o.Every, started: time.Now()}
	u.collector = collect.New(s.store, s.images, f, collect.Options{
		Logger: s.cfg.Logger, Every: o.Every, FullEvery: o.FullEvery, Temp: o.Temp, Realms: s.cfg.Realms, Holder: holder(),
		Began: u.began, Ended: u.ended,
	})
	u.verifier = verify.New(s.store, s.images, verify.Options{Logger: s.cfg.Logger, Temp: o.Temp})
	return u
}

// holder names this server to people.
func holder() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// run collects by schedule until ctx ends.
func (u *upkeep) run(ctx context.Context) {
	var g errgroup.Group
	g.Go(func() error {
		u.watch(ctx)
		return nil
	})
	if u.every > 0 {
		u.collector.Loop(ctx)
	} else {
		u.log.Info("this server does not collect by itself")
	}
	_ = g.Wait() // never fails
}

// watch keeps what the metrics show.
func (u *upkeep) watch(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		u.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look reads the last reports. A bucket that does not answer is others' to complain
// about.
func (u *upkeep) look(ctx context.Context) {
	if r, ok, err := u.collector.Last(ctx); err == nil && ok {
		u.collection.Store(&r)
	}
	if r, ok, err := u.verifier.Last(ctx); err == nil && ok {
		u.verification.Store(&r)
	}
}

// began and ended are told of each cycle of this server.
func (u *upkeep) began() {
	u.running.Add(1)
	u.log.Info("collection begins")
}

func (u *upkeep) ended(r collect.Report) {
	u.running.Add(-1)
	u.freed.Add(r.FreedBytes)
	u.collection.Store(&r)
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.Duration("took", r.Ended.Sub(r.Began).Round(time.Millisecond)), slog.Bool("full", r.Full),
		slog.Int64("manifests", r.Manifests), slog.Int64("blobs", r.Listed), slog.Int64("marked", r.Marked),
		slog.Int64("condemned", r.Condemned), slog.Int64("collected", r.Collected), slog.Int64("revived", r.Revived),
		slog.Int64("freed_objects", r.FreedObjects), slog.Int64("freed_bytes", r.FreedBytes),
		slog.Int64("waiting_bytes", r.WaitingBytes), slog.Int64("problems", r.ProblemsTotal),
	}
	text := "collection ended"
	if r.Error != "" {
		text, level = "collection did not come to its end", slog.LevelWarn
		attrs = append(attrs, slog.String("error", r.Error))
	}
	u.log.LogAttrs(context.Background(), level, text, attrs...)
}
