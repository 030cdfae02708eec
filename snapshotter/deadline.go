package snapshotter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// defaultDeadline is for calls that read or write metadata.
const defaultDeadline = 10 * time.Second

const snapshotsService = "/containerd.services.snapshots.v1.Snapshots/"

// slowCalls are the calls of the snapshots API that go through files, too.
var slowCalls = map[string]time.Duration{
	snapshotsService + "Commit":  time.Minute, // flushes a layer; see overlay's settle
	snapshotsService + "Usage":   time.Minute,
	snapshotsService + "Cleanup": 10 * time.Minute,
}

// deadlines answer every call in time. containerd sets no deadline on its calls
// and holds locks over many of them: one that hangs stops the node.
//
// A call gets a context that ends; and if it does not obey that, because a disk
// does not answer, its client gets its answer all the same.
type deadlines struct {
	limits map[string]time.Duration
	log    *slog.Logger
	calls  sync.WaitGroup
}

func newDeadlines(own map[string]time.Duration, log *slog.Logger) *deadlines {
	d := &deadlines{limits: map[string]time.Duration{}, log: log}
	for _, limits := range []map[string]time.Duration{slowCalls, own} {
		for method, limit := range limits {
			d.limits[method] = limit
		}
	}
	return d
}

func (d *deadlines) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var resp any
	err := d.run(ctx, info.FullMethod, func(ctx context.Context) (publish func(), err error) {
		answer, err := handler(ctx, req)
		return func() { resp = answer }, err
	})
	return resp, err
}

func (d *deadlines) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return d.run(ss.Context(), info.FullMethod, func(ctx context.Context) (func(), error) {
		return func() {}, handler(srv, &streamWithContext{ss, ctx})
	})
}

// run calls fn and returns when it does, or when time is up. The answer of fn is
// published only in the first case.
func (d *deadlines) run(ctx context.Context, method string, fn func(context.Context) (publish func(), err error)) error {
	limit, ok := d.limits[method]
	if !ok {
		limit = defaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	start := time.Now()
	type result struct {
		publish func()
		err     error
	}
	done := make(chan result)
	late := make(chan struct{})
	d.calls.Go(func() {
		defer cancel()
		publish, err := fn(ctx)
		select {
		case done <- result{publish, err}:
		case <-late:
			d.log.Warn("a call ended after it had been answered", "method", method, "duration", time.Since(start), "error", err)
		}
	})
	select {
	case r := <-done:
		r.publish()
		return r.err
	case <-ctx.Done():
	}
	// Most calls obey and know better what was going on: a moment for them.
	select {
	case r := <-done:
		r.publish()
		return r.err
	case <-time.After(obedience):
	}
	close(late)
	if ctx.Err() == context.DeadlineExceeded {
		return status.Errorf(codes.DeadlineExceeded, "%s has not ended within %s; is the disk slow, or full of dirty pages?", method, limit)
	}
	return status.FromContextError(ctx.Err()).Err()
}

const obedience = 100 * time.Millisecond

// wait waits for calls that were answered before they had ended.
func (d *deadlines) wait(limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		d.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }
