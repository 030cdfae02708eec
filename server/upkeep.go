package server

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/retain"
	"github.com/laminastore/lamina/blobstore/usage"
	"github.com/laminastore/lamina/blobstore/verify"
)

// lookEvery is how often a server looks at what the last collection and the last
// verification have reported, on whichever server they ran.
const lookEvery = 5 * time.Minute

// An upkeep collects by schedule, and knows for the metrics how that goes.
type upkeep struct {
	log       *slog.Logger
	every     time.Duration // negative: never
	reload    time.Duration // how often the rules' file is looked at
	collector *collect.Collector
	verifier  *verify.Verifier
	policy    *retain.Policy // nil: nothing is removed by rules
	usage     *usage.Counter // what each mark of the collector counts

	started time.Time
	running atomic.Int64 // cycles on this server
	freed   atomic.Int64 // bytes, by this server since it started

	collection   atomic.Pointer[collect.Report] // the last one of any server; nil: none is known
	verification atomic.Pointer[verify.Report]
}

func (s *server) newUpkeep(f *fleet.Fleet) *upkeep {
	o := s.cfg.Collect
	u := &upkeep{log: s.cfg.Logger, every: o.Every, reload: cmp.Or(s.cfg.Reload, 5*time.Second), policy: o.policy, started: time.Now()}
	retainer := retain.New(s.store, s.images, f, u.policy, retain.Options{Logger: s.cfg.Logger})
	u.usage = usage.New(s.store, usage.Options{Logger: s.cfg.Logger, Realms: s.cfg.Realms, Temp: o.Temp})
	u.collector = collect.New(s.store, s.images, f, collect.Options{
		Logger: s.cfg.Logger, Every: o.Every, FullEvery: o.FullEvery, Temp: o.Temp, Realms: s.cfg.Realms, Holder: holder(),
		Retain: retainer.Collect,
		Began:  u.began, Ended: u.ended, Tally: u.usage.Tally,
	})
	u.usage.MarkWith(func(ctx context.Context) error { return u.collector.Count(ctx, nil) })
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
	if u.policy != nil {
		g.Go(func() error {
			u.policy.Watch(ctx, u.reload)
			return nil
		})
	}
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

// began and ended are told of each cycle of this server. How it went is logged by
// the collector.
func (u *upkeep) began() {
	u.running.Add(1)
	u.log.Info("collection begins")
}

func (u *upkeep) ended(r collect.Report) {
	u.running.Add(-1)
	u.freed.Add(r.FreedBytes)
	if r.Error == "" { // else whether it counts is known by what was kept
		u.collection.Store(&r)
	}
}
