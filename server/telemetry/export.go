package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// An Exporter sends spans to a collector over OTLP.
type Exporter struct{ *sdktrace.TracerProvider }

// OpenExporter returns an Exporter as the environment has it by the names that
// OpenTelemetry specifies, or nil when no endpoint is set:
//
//	OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
//	OTEL_EXPORTER_OTLP_PROTOCOL, …_TRACES_PROTOCOL  grpc, or http/protobuf (the default)
//	OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _TIMEOUT, …
//	OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG    which traces; all by default
//	OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES     who we are; lamina by default
//	OTEL_SDK_DISABLED=true, OTEL_TRACES_EXPORTER=none
//
// A collector that cannot be reached is no error: spans are then dropped, and
// log says so. The caller shuts the Exporter down.
func OpenExporter(ctx context.Context, version string, log *slog.Logger) (*Exporter, error) {
	if log == nil {
		log = slog.Default()
	}
	endpoint := first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	switch kind := os.Getenv("OTEL_TRACES_EXPORTER"); kind {
	case "", "otlp":
	case "none":
		return nil, nil
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: only otlp and none are supported", kind)
	}
	var exporter sdktrace.SpanExporter
	var err error
	switch protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	case "", "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: choose grpc or http/protobuf", protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("export traces to %s: %w", endpoint, err)
	}
	who, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "lamina"), attribute.String("service.version", Options{Version: version}.versionOrBuild())),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv()) // what comes last counts
	if err != nil {
		_ = exporter.Shutdown(ctx)
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces were not exported", "error", err) }))
	log.Info("exporting traces", "endpoint", endpoint)
	return &Exporter{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who))}, nil
}

// first is the first of the variables that is set.
func first(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return ""
}
