package telemetry

import "github.com/prometheus/client_golang/prometheus"

// seconds are the upper ends of the histograms' buckets: a manifest from the
// cache takes 1 ms, a large blob over a slow link minutes.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// metrics are what is counted as it happens; levels.go has what is looked at
// when somebody asks.
type metrics struct {
	build *prometheus.GaugeVec

	httpRequests, httpErrors  *prometheus.CounterVec
	httpReceived, httpSent    *prometheus.CounterVec
	httpDuration              *prometheus.HistogramVec
	httpRunning               *prometheus.GaugeVec
	rpcRequests               *prometheus.CounterVec
	rpcReceived, rpcSent      *prometheus.CounterVec
	rpcDuration               *prometheus.HistogramVec
	rpcRunning                *prometheus.GaugeVec
	bucketCalls               *prometheus.CounterVec
	bucketDuration            *prometheus.HistogramVec
	bucketRunning             *prometheus.GaugeVec
	bucketRead, bucketWritten prometheus.Counter
	bucketBrokenReads         prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, labels)
	}
	one := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		build: gauge("lamina_build_info", "1, labelled with what runs.", "version", "goversion", "platform"),

		httpRequests: counter("lamina_http_requests_total", "Requests answered, by route, method and status; 499: the client was gone.", "route", "method", "status"),
		httpErrors:   counter("lamina_http_errors_total", "Requests answered with an error, by route and the error's code.", "route", "code"),
		httpReceived: counter("lamina_http_received_bytes_total", "Bytes of request bodies read.", "route"),
		httpSent:     counter("lamina_http_sent_bytes_total", "Bytes of response bodies written.", "route"),
		httpDuration: histogram("lamina_http_request_duration_seconds", "Time from a request's header to the end of its answer.", "route"),
		httpRunning:  gauge("lamina_http_requests_in_flight", "Requests being answered.", "route"),

		rpcRequests: counter("lamina_rpc_requests_total", "RPCs that have ended, by method and gRPC code.", "rpc", "code"),
		rpcReceived: counter("lamina_rpc_received_bytes_total", "Bytes of the messages received.", "rpc"),
		rpcSent:     counter("lamina_rpc_sent_bytes_total", "Bytes of the messages sent.", "rpc"),
		rpcDuration: histogram("lamina_rpc_duration_seconds", "Time from an RPC's header to its status.", "rpc"),
		rpcRunning:  gauge("lamina_rpc_requests_in_flight", "RPCs under way.", "rpc"),

		bucketCalls:       counter("lamina_bucket_calls_total", "Calls to the bucket, by kind and outcome.", "call", "outcome"),
		bucketDuration:    histogram("lamina_bucket_call_duration_seconds", "Time of a call to the bucket; of a get, to its first byte.", "call"),
		bucketRunning:     gauge("lamina_bucket_calls_in_flight", "Calls to the bucket under way.", "call"),
		bucketRead:        one("lamina_bucket_read_bytes_total", "Bytes read from objects of the bucket."),
		bucketWritten:     one("lamina_bucket_written_bytes_total", "Bytes written into the bucket."),
		bucketBrokenReads: one("lamina_bucket_broken_reads_total", "Reads of objects that failed after they had begun."),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.build,
		m.httpRequests, m.httpErrors, m.httpReceived, m.httpSent, m.httpDuration, m.httpRunning,
		m.rpcRequests, m.rpcReceived, m.rpcSent, m.rpcDuration, m.rpcRunning,
		m.bucketCalls, m.bucketDuration, m.bucketRunning, m.bucketRead, m.bucketWritten, m.bucketBrokenReads,
	}
}
