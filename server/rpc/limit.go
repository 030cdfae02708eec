package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/limit"
)

// A limiter counts calls for those who make them. Its interceptors enter stand
// before the one that finds out who that is, and admitted behind it.
type limiter struct{ l *limit.Limiter }

// uncounted are asked by what watches over the server, and cost nothing.
func uncounted(method string) bool {
	return strings.HasPrefix(method, "/"+healthpb.Health_ServiceDesc.ServiceName+"/")
}

// uploading are the calls that bring the bytes of a blob.
var uploading = map[string]bool{pb.Blobs_Write_FullMethodName: true}

type limitedKey struct{}

// begin counts a call for the address that it comes from.
func (m limiter) begin(ctx context.Context, method string) (context.Context, *limit.Request, error) {
	if m.l == nil || uncounted(method) {
		return ctx, nil, nil
	}
	address := ""
	if p, ok := peer.FromContext(ctx); ok {
		address = limit.Address(p.Addr.String())
	}
	r, err := m.l.Enter(address, showsPassword(ctx))
	return context.WithValue(ctx, limitedKey{}, r), r, err
}

// showsPassword says whether a password comes with the call.
func showsPassword(ctx context.Context) bool {
	for _, v := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		if scheme, _, _ := strings.Cut(v, " "); strings.EqualFold(scheme, "Basic") {
			return true
		}
	}
	return false
}

// end ends the count. A password that was wrong counts against the address.
func (limiter) end(ctx context.Context, r *limit.Request, err error) {
	if r != nil && showsPassword(ctx) && (errors.Is(err, access.ErrCredentials) || status.Code(err) == codes.Unauthenticated) {
		r.WrongPassword()
	}
	r.Leave()
}

// admit counts a call for its caller, and for an upload if it is one.
func (limiter) admit(ctx context.Context, method string) error {
	r, _ := ctx.Value(limitedKey{}).(*limit.Request)
	if who := access.From(ctx); !who.Anonymous() {
		if err := r.As(who.Subject()); err != nil {
			return err
		}
	}
	if uploading[method] {
		return r.Upload()
	}
	return nil
}

func (m limiter) enterUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	ctx, r, err := m.begin(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer func() { m.end(ctx, r, err) }()
	return handler(ctx, req)
}

func (m limiter) admittedUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := m.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (m limiter) enterStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx, r, err := m.begin(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer func() { m.end(ctx, r, err) }()
	return handler(srv, &limitedStream{ss, ctx})
}

func (m limiter) admittedStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := m.admit(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(srv, ss)
}

// A limitedStream is a stream whose context has its *limit.Request.
type limitedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *limitedStream) Context() context.Context { return s.ctx }

// retryAfter is how long a client should wait before it tries again; 0: it need
// not.
func (r row) retryAfter(err error) time.Duration {
	var over *limit.Error
	if r.class == limit.ErrTooMany && errors.As(err, &over) {
		return over.After
	}
	return r.retry
}
