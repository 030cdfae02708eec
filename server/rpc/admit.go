package rpc

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/server/access"
)

// A guard stands before every call: it finds out who calls, and lets in whom the
// rule of the call lets in.
type guard struct{ access *access.Control }

// unary lets a call with one request in, with a context in which access.From
// finds the caller. Errors: access.ErrCredentials, ErrUnavailable, and those of
// the rule.
func (g *guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	caller, check, err := g.caller(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if err := check(caller, request); err != nil {
		return nil, err
	}
	return handler(access.With(ctx, caller), request)
}

// stream is unary for a stream, whose first message is looked at when it comes:
// it says what the call is about.
func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	caller, check, err := g.caller(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return handler(srv, &admittedStream{ServerStream: ss, ctx: access.With(ss.Context(), caller), caller: caller, check: check})
}

// caller finds out who calls, and the rule that counts.
func (g *guard) caller(ctx context.Context, method string) (*access.Caller, rule, error) {
	check, ok := rules[method]
	if !ok {
		return nil, nil, &blobstore.Error{Class: access.ErrDenied, Subject: method, Detail: "nobody may call what has no rule"}
	}
	cr, err := shown(ctx)
	if err != nil {
		return nil, nil, err
	}
	caller, err := g.access.Identify(ctx, cr)
	if err != nil {
		return nil, nil, err
	}
	if c, ok := ctx.Value(inCall{}).(*call); ok {
		c.caller = caller.Subject()
	}
	return caller, check, nil
}

// shown are the credentials that come with a call.
func shown(ctx context.Context) (access.Credentials, error) {
	var cr access.Credentials
	switch auth := metadata.ValueFromIncomingContext(ctx, "authorization"); len(auth) {
	case 0:
	case 1:
		cr.Authorization = auth[0]
	default:
		return cr, fmt.Errorf("%w: authorization is there %d times", access.ErrCredentials, len(auth))
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return cr, nil
	}
	if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		cr.TLS = &t.State
	}
	if a, ok := p.Addr.(*net.TCPAddr); ok {
		cr.Remote = a.AddrPort().Addr().Unmap()
	}
	return cr, nil
}

type admittedStream struct {
	grpc.ServerStream
	ctx    context.Context
	caller *access.Caller
	check  rule
	passed atomic.Bool
}

func (s *admittedStream) Context() context.Context { return s.ctx }

// RecvMsg gives the handler nothing that the rule does not let in.
func (s *admittedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.passed.Load() {
		return nil
	}
	if err := s.check(s.caller, m); err != nil {
		return err
	}
	s.passed.Store(true)
	return nil
}

// SendMsg says nothing to a caller before its rule has let it in.
func (s *admittedStream) SendMsg(m any) error {
	if !s.passed.Load() {
		return fmt.Errorf("%w: %T is sent before anything was asked", access.ErrDenied, m)
	}
	return s.ServerStream.SendMsg(m)
}
