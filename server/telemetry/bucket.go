package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/observe"
)

// Bucket returns b with its calls measured.
func (t *Telemetry) Bucket(b bucket.Bucket) bucket.Bucket {
	if t == nil {
		return b
	}
	for _, kind := range []observe.Kind{observe.Put, observe.Create, observe.Part, observe.Complete} {
		t.metrics.bucketCalls.WithLabelValues(string(kind), "full") // there from the start, so that an alert sees the first one
	}
	return observe.New(b, bucketCalls{t})
}

// outcomes are the labels of classes of error, the first that fits. What is
// lost in a race, or asked for and not there, is part of the work.
var outcomes = []struct {
	class error
	name  string
	fault bool // something is wrong with the bucket, or with us
}{
	{bucket.ErrNotExist, "not_exist", false},
	{bucket.ErrPrecondition, "precondition", false},
	{bucket.ErrNoUpload, "no_upload", false},
	{bucket.ErrTooLate, "too_late", true},
	{bucket.ErrRange, "range", false},
	{bucket.ErrFull, "full", true},
	{context.Canceled, "canceled", false},
	{context.DeadlineExceeded, "deadline", true},
	{bucket.ErrBusy, "busy", true}, // an ErrUnavailable too
	{bucket.ErrUnavailable, "unavailable", true},
}

// outcome is the label of a call that ended with err.
func outcome(err error) (name string, fault bool) {
	if err == nil {
		return "ok", false
	}
	for _, o := range outcomes {
		if errors.Is(err, o.class) {
			return o.name, o.fault
		}
	}
	return "error", true
}

// bucketCalls is the observer of a bucket.
type bucketCalls struct{ t *Telemetry }

// Begin implements observe.Observer.
func (b bucketCalls) Begin(ctx context.Context, c observe.Call) (context.Context, func(time.Duration, error)) {
	m, kind := b.t.metrics, string(c.Kind)
	m.bucketRunning.WithLabelValues(kind).Inc()
	ctx, span := b.span(ctx, c)
	return ctx, func(took time.Duration, err error) {
		name, fault := outcome(err)
		m.bucketCalls.WithLabelValues(kind, name).Inc()
		m.bucketDuration.WithLabelValues(kind).Observe(took.Seconds())
		m.bucketRunning.WithLabelValues(kind).Dec()
		if err == nil {
			m.bucketWritten.Add(float64(c.Size))
		}
		if span == nil {
			return
		}
		span.SetAttributes(attribute.String("lamina.bucket.outcome", name))
		if fault {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End(trace.WithTimestamp(c.Began.Add(took)))
	}
}

// span begins the span of a call if it is made within a trace, else nil.
func (b bucketCalls) span(ctx context.Context, c observe.Call) (context.Context, trace.Span) {
	if b.t.traces == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nil
	}
	ctx, span := b.t.tracer.Start(ctx, "bucket "+string(c.Kind), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(c.Began), trace.WithAttributes(attribute.String("lamina.bucket.call", string(c.Kind))))
	switch {
	case len(c.Keys) == 1:
		span.SetAttributes(attribute.String("lamina.bucket.key", c.Keys[0]))
	case len(c.Keys) > 1:
		span.SetAttributes(attribute.Int("lamina.bucket.keys", len(c.Keys)))
	}
	if c.Size > 0 {
		span.SetAttributes(attribute.Int64("lamina.bucket.size", c.Size))
	}
	return ctx, span
}

// Read implements observe.Observer.
func (b bucketCalls) Read(n int64, err error) {
	b.t.metrics.bucketRead.Add(float64(n))
	if err != nil && !errors.Is(err, context.Canceled) {
		b.t.metrics.bucketBrokenReads.Inc()
	}
}
