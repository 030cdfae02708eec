package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/telemetry"
)

// RequestIDHeader names a request in the logs of client and server. A caller
// may choose the id; the answer's header has it in any case.
const RequestIDHeader = "x-request-id"

// defaultDeadline ends a unary call whose caller has set no deadline.
const defaultDeadline = time.Minute

// deadlines are those of the calls that may well take longer.
var deadlines = map[string]time.Duration{
	pb.Images_Get_FullMethodName: 10 * time.Minute, // wait_for_layers
	pb.Usage_Get_FullMethodName:  10 * time.Minute, // reads every manifest
}

// quiet are calls that somebody makes every few seconds: logged as debug.
var quiet = map[string]bool{
	"/grpc.health.v1.Health/Check":     true,
	"/grpc.health.v1.Health/Watch":     true,
	pb.Snapshots_Report_FullMethodName: true,
}

// A call is one request on its way through the interceptors.
type call struct {
	log      *slog.Logger
	method   string
	id       string
	began    time.Time
	peer     string
	caller   string       // "" until it is known
	in, out  atomic.Int64 // payload bytes
	panicked any
	stack    []byte
}

func begin(ctx context.Context, log *slog.Logger, method string) *call {
	c := &call{log: log, method: method, id: requestID(ctx), began: time.Now()}
	if p, ok := peer.FromContext(ctx); ok {
		c.peer = p.Addr.String()
	}
	return c
}

// requestID takes the caller's id if it can stand in a log, or makes one up.
func requestID(ctx context.Context) string {
	if ids := metadata.ValueFromIncomingContext(ctx, RequestIDHeader); len(ids) > 0 {
		return telemetry.RequestID(ids[0])
	}
	return telemetry.RequestID("")
}

// recovered, deferred, makes of a panic an error of the call it happened in.
func (c *call) recovered(err *error) {
	if r := recover(); r != nil {
		c.panicked, c.stack = r, debug.Stack()
		*err = status.Error(codes.Internal, "") // end says what the client gets
	}
}

// end logs the call and returns what the client gets.
func (c *call) end(ctx context.Context, err error) error {
	var s *status.Status
	switch {
	case c.panicked != nil:
		s = toStatus(context.Background(), fmt.Errorf("panic: %v", c.panicked), c.id)
	case err != nil:
		s = toStatus(ctx, err, c.id)
	}
	attrs := []slog.Attr{
		slog.String("method", c.method), slog.String("code", s.Code().String()), slog.String("peer", c.peer), slog.String("caller", c.caller),
		slog.Duration("duration", time.Since(c.began).Round(time.Microsecond)),
		slog.Int64("in", c.in.Load()), slog.Int64("out", c.out.Load()), slog.String("request_id", c.id),
	}
	attrs = append(attrs, telemetry.LogAttrs(ctx)...)
	if c.panicked != nil {
		attrs = append(attrs, slog.Any("panic", c.panicked), slog.String("stack", string(c.stack)))
	} else if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.log.LogAttrs(ctx, c.level(s.Code()), "rpc", attrs...)
	return s.Err()
}

// level is by whose business an outcome is: error is for whoever runs the
// server, and for nothing else.
func (c *call) level(code codes.Code) slog.Level {
	switch code {
	case codes.Internal, codes.DataLoss, codes.Unknown:
		return slog.LevelError
	case codes.Unavailable, codes.ResourceExhausted:
		return slog.LevelWarn
	case codes.OK:
		if quiet[c.method] {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}

func unary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		c := begin(ctx, log, info.FullMethod)
		c.in.Store(size(req))
		_ = grpc.SetHeader(ctx, metadata.Pairs(RequestIDHeader, c.id))
		if _, ok := ctx.Deadline(); !ok {
			d, ok := deadlines[info.FullMethod]
			if !ok {
				d = defaultDeadline
			}
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
		resp, err := func() (resp any, err error) {
			defer c.recovered(&err)
			return handler(context.WithValue(ctx, inCall{}, c), req)
		}()
		if err == nil {
			c.out.Store(size(resp))
		}
		if err := c.end(ctx, err); err != nil {
			return nil, err
		}
		return resp, nil
	}
}

func streaming(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		c := begin(ss.Context(), log, info.FullMethod)
		_ = ss.SetHeader(metadata.Pairs(RequestIDHeader, c.id))
		err := func() (err error) {
			defer c.recovered(&err)
			return handler(srv, &countedStream{ss, c})
		}()
		return c.end(ss.Context(), err)
	}
}

// countedStream counts the bytes of a stream.
type countedStream struct {
	grpc.ServerStream
	call *call
}

// inCall is where a context has its *call.
type inCall struct{}

func (s *countedStream) Context() context.Context {
	return context.WithValue(s.ServerStream.Context(), inCall{}, s.call)
}

func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.call.out.Add(size(m))
	}
	return err
}

func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.call.in.Add(size(m))
	}
	return err
}

func size(m any) int64 {
	if m, ok := m.(proto.Message); ok {
		return int64(proto.Size(m))
	}
	return 0
}
