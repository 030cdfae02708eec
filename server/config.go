package server

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/server/telemetry"
)

// Where a server listens and keeps things unless it is told otherwise.
const (
	DefaultBucket  = "file:///var/lib/lamina"
	DefaultHTTP    = "127.0.0.1:5000"
	DefaultGRPC    = "127.0.0.1:7070"
	DefaultMetrics = "127.0.0.1:9090"
)

// DefaultStopWithin is Config.StopWithin when that is zero.
const DefaultStopWithin = 20 * time.Second

// Config says what a server serves, and where.
type Config struct {
	// Bucket is the URL of the bucket: file:///DIR, s3://BUCKET[/PREFIX]?… or
	// memory:. Empty means DefaultBucket.
	Bucket string
	// HTTP, GRPC and Metrics are the addresses, HOST:PORT, of the OCI registry,
	// of the gRPC API, and of /healthz and /readyz. Port 0 means any free one.
	// Empty means the defaults; Off leaves that one out.
	HTTP, GRPC, Metrics string

	// Realms tells which repositories may share pieces; the zero Map has one
	// realm for all. A server whose realms are not those of the bucket's other
	// servers is refused (ErrRealms), unless ChangeRealms is set: then they become
	// those of the bucket, and the other servers have to be started again.
	Realms       realm.Map
	ChangeRealms bool

	// AllowSparse accepts manifests although something that they name is not in
	// their repository: see images.Options.
	AllowSparse bool

	// Access is the file that says who may do what (package access), or "open".
	// Empty, everything is open to everyone on this machine, and addresses that
	// other machines reach are refused (ErrOpen).
	Access string
	// TLSCert and TLSKey are files with a certificate and its key. With them, TLS
	// is spoken at HTTP and GRPC. They are read again when they have changed.
	TLSCert, TLSKey string
	// Reload is how often these files are looked at for changes: 5 s.
	Reload time.Duration

	// Redirect sends the registry's clients to the bucket for the bytes of blobs:
	// see registry.Options. Where the bucket cannot do that, start-up says so.
	Redirect bool

	// Collect says what the server collects by itself, and when.
	Collect Collect

	Logger *slog.Logger // slog.Default()

	// Version is the program's, for metrics and traces; "": what the build has
	// recorded.
	Version string
	// Traces gets the spans of requests. nil means that Run sends them to where
	// the environment says (telemetry.OpenExporter), and RunOn makes none.
	Traces trace.TracerProvider

	// OnReady, if set, is called once all addresses are open.
	OnReady func(Ready)

	// What follows is for special needs; the zero values are right for nearly
	// everyone.

	// Store are the options of the store. Grace, Drain, Skew, PublishWithin and
	// LinkLease must be the same on all servers of a bucket.
	Store blobstore.Options
	// MemoryLimit is the size in bytes that the process tries to stay below by
	// collecting garbage more often, without the parts of uploads (see
	// blobstore.Options.PartBuffers). 0 means none; GOMEMLIMIT goes before it.
	MemoryLimit int64
	// StopWithin is how long requests that are under way may take when the
	// server stops: 20 s.
	StopWithin time.Duration
	// Idle is how long a client may stand still: 1 min.
	Idle time.Duration
	// Limits bound what clients may ask for: DefaultLimits.
	Limits Limits
}

func (c Config) withDefaults() Config {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&c.Bucket, DefaultBucket)
	def(&c.HTTP, DefaultHTTP)
	def(&c.GRPC, DefaultGRPC)
	def(&c.Metrics, DefaultMetrics)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Store.Logger == nil {
		c.Store.Logger = c.Logger
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Store.PublishWithin == 0 {
		c.Store.PublishWithin = c.Limits.UploadAge
	}
	if c.Store.MaxBlob == 0 {
		c.Store.MaxBlob = c.Limits.Blob
	}
	c.Collect = c.Collect.withDefaults()
	if c.StopWithin == 0 {
		c.StopWithin = DefaultStopWithin
	}
	return c
}

// Ready tells what a server that has started listens on, as HOST:PORT ("" for
// what is off), and what it works with.
type Ready struct {
	HTTP, GRPC, Metrics string

	Store  *blobstore.Store
	Images *images.Images
	// Telemetry measures the server, and has what it measured when that has
	// ended.
	Telemetry *telemetry.Telemetry
}
