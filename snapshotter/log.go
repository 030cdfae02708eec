package snapshotter

import (
	"context"
	"log/slog"
	"path"
	"time"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// logUnary writes one line per request, and makes sure that its error has a
// gRPC code.
func logUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		resp, err := handler(ctx, req)
		err = withCode(err)
		logCall(ctx, log, info.FullMethod, req, time.Since(start), err)
		return resp, err
	}
}

func logStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := withCode(handler(srv, ss))
		logCall(ss.Context(), log, info.FullMethod, nil, time.Since(start), err)
		return err
	}
}

// withCode turns the classes of errdefs into gRPC codes. containerd's service
// does so itself, except in List.
func withCode(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return errgrpc.ToGRPC(err)
}

func logCall(ctx context.Context, log *slog.Logger, method string, req any, took time.Duration, err error) {
	attrs := append([]slog.Attr{slog.String("method", path.Base(method))}, subject(req)...)
	attrs = append(attrs, slog.Duration("duration", took))
	if err != nil {
		attrs = append(attrs, slog.String("code", status.Code(err).String()), slog.String("error", status.Convert(err).Message()))
	}
	log.LogAttrs(ctx, level(method, status.Code(err)), "request", attrs...)
}

// level: what changes something is of interest, what only looks is not. Many
// errors are plain answers, to which containerd has its own.
func level(method string, code codes.Code) slog.Level {
	switch code {
	case codes.OK:
		switch path.Base(method) {
		case "Stat", "Mounts", "List", "Usage":
			return slog.LevelDebug
		}
		return slog.LevelInfo
	case codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.InvalidArgument, codes.Canceled, codes.Unimplemented:
		return slog.LevelInfo
	default:
		return slog.LevelError
	}
}

// subject is what a request is about. Requests of other services take part when
// they have fields of these names.
func subject(req any) (attrs []slog.Attr) {
	add := func(name, value string) {
		const most = 256 // keys may be long
		if len(value) > most {
			value = value[:most] + "…"
		}
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if r, ok := req.(interface{ GetKey() string }); ok {
		add("key", r.GetKey())
	}
	if r, ok := req.(interface{ GetName() string }); ok {
		add("name", r.GetName())
	}
	if r, ok := req.(interface{ GetParent() string }); ok {
		add("parent", r.GetParent())
	}
	return attrs
}
