package telemetry

import (
	"context"
	"crypto/rand"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// maxRequestID is the longest request id that is taken over, in bytes.
const maxRequestID = 128

// RequestID is what names a request in our log, in the answer and, if they
// gave it, in the logs of the client and of proxies: the id that came with the
// request if it can stand in a log, else a new one.
func RequestID(given string) string {
	for i := range len(given) {
		if given[i] <= ' ' || given[i] > '~' {
			return rand.Text()
		}
	}
	if given == "" || len(given) > maxRequestID {
		return rand.Text()
	}
	return given
}

// LogAttrs are what a line about the request of ctx says beside what the APIs
// know of it: its trace_id, when it is traced.
func LogAttrs(ctx context.Context) []slog.Attr {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		return []slog.Attr{slog.String("trace_id", s.TraceID().String())}
	}
	return nil
}
