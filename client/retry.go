package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A patience decides how long one thing is tried. It belongs to one goroutine.
type patience struct {
	c     *Client
	pause *backoff.ExponentialBackOff
	since time.Time // when something moved last
}

func (c *Client) patience() *patience {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 100 * time.Millisecond
	b.MaxInterval = 10 * time.Second
	b.Reset()
	return &patience{c: c, pause: b, since: time.Now()}
}

// moved tells that there was progress.
func (p *patience) moved() {
	p.since = time.Now()
	p.pause.Reset()
}

// wait returns nil when it is time to try again after err, and otherwise why
// not: err as an *Error.
func (p *patience) wait(ctx context.Context, err error) error {
	err = asError(err, p.c.addr)
	e, ok := errors.AsType[*Error](err)
	if ctx.Err() != nil {
		return asError(ctx.Err(), p.c.addr)
	}
	if !ok || !e.worthRepeating() {
		return err
	}
	if e.remote {
		p.c.contacted.Store(true)
	}
	limit := p.c.options.Patience
	if !p.c.contacted.Load() {
		limit = min(limit, p.c.options.FirstPatience)
	}
	pause := max(p.pause.NextBackOff(), e.retry)
	if time.Since(p.since)+pause > limit {
		return err
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return asError(ctx.Err(), p.c.addr)
	}
}

// worthRepeating says whether the same call may succeed a little later.
func (e *Error) worthRepeating() bool {
	switch {
	case e.retry > 0, e.Reason == pb.Reason_REASON_UPLOAD_IDLE, e.Reason == pb.Reason_REASON_UPLOAD_OFFSET:
		return true
	case e.remote:
		return e.status.Code() == codes.Unavailable
	}
	switch e.status.Code() {
	case codes.Unavailable:
		return true
	case codes.Internal:
		// How gRPC reports a stream that a proxy broke off; there is no other
		// sign to tell it by.
		m := e.status.Message()
		return strings.Contains(m, "RST_STREAM") || strings.Contains(m, "without sending trailers")
	}
	return false
}

// call is a call that answers once, repeated until it has.
func call[Request, Response any](ctx context.Context, c *Client, f func(context.Context, *Request, ...grpc.CallOption) (*Response, error), in *Request) (*Response, error) {
	p := c.patience()
	for {
		out, err := f(ctx, in)
		if err == nil {
			c.contacted.Store(true)
			return out, nil
		}
		if err := p.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}
