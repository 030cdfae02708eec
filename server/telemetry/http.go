package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// An Answer is how a request over HTTP ended.
type Answer struct {
	Status int
	// Code is the error's in the answer's body; "" without an error.
	Code           string
	Received, Sent int64 // bytes of the bodies
	Err            error
}

// Request begins to measure a request. route is its name in the table of routes;
// repository may be "". The request goes on as the one that is returned, whose
// context has the span; ended must be called once, when it has been answered.
func (t *Telemetry) Request(r *http.Request, route, repository string) (_ *http.Request, ended func(Answer)) {
	if t == nil {
		return r, func(Answer) {}
	}
	began := time.Now()
	m := t.metrics
	m.httpRunning.WithLabelValues(route).Inc()
	ctx := r.Context()
	var span trace.Span
	if t.traces != nil {
		ctx = t.carried.Extract(ctx, propagation.HeaderCarrier(r.Header))
		ctx, span = t.tracer.Start(ctx, route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", method(r)),
			attribute.String("http.route", route),
			attribute.String("network.protocol.version", strconv.Itoa(r.ProtoMajor)),
		))
		if repository != "" {
			span.SetAttributes(attribute.String("lamina.repository", repository))
		}
		r = r.WithContext(ctx)
	}
	return r, func(a Answer) {
		m.httpRequests.WithLabelValues(route, method(r), strconv.Itoa(a.Status)).Inc()
		if a.Code != "" {
			m.httpErrors.WithLabelValues(route, a.Code).Inc()
		}
		m.httpReceived.WithLabelValues(route).Add(float64(a.Received))
		m.httpSent.WithLabelValues(route).Add(float64(a.Sent))
		m.httpDuration.WithLabelValues(route).Observe(time.Since(began).Seconds())
		m.httpRunning.WithLabelValues(route).Dec()
		if span != nil {
			endRequest(span, a)
		}
	}
}

func endRequest(span trace.Span, a Answer) {
	span.SetAttributes(
		attribute.Int("http.response.status_code", a.Status),
		attribute.Int64("http.request.body.size", a.Received),
		attribute.Int64("http.response.body.size", a.Sent),
	)
	if a.Code != "" {
		span.SetAttributes(attribute.String("error.type", a.Code))
	}
	// By the semantic conventions, what is the client's fault is no error of
	// the server's span.
	if a.Err != nil && (a.Status >= 500 || a.Status < 400) {
		span.SetStatus(codes.Error, a.Err.Error())
	}
	span.End()
}

// method is r's method if it is one that HTTP has.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return r.Method
	}
	return "other"
}
