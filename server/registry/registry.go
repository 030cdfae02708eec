// Package registry serves a store over HTTP as the OCI distribution API 1.1, so
// that docker, containerd, podman, skopeo, crane, buildah, oras and whatever
// else speaks it can push and pull.
//
// # What is where
//
// A path is read from the right (path.go) and found in one table (routes.go),
// whose rows say what a request does: access rules and metrics go by their
// names and actions. Every error goes through one table (errors.go).
//
// # What a client may rely on
//
// A digest that is acknowledged is durable. An upload that breaks off keeps
// what had arrived: GET on its URL says how much (Range), and any server over
// the same bucket goes on from there. A blob that is read whole is hashed on
// the way; when its stored bytes turn out to be damaged the connection is cut
// before the last byte, so that no client takes it for complete.
//
// A Location is a path without scheme and host (RFC 9110 section 10.2.2): all
// clients resolve it against the URL they asked, and so it is right behind any
// proxy, with no header to trust. /v2/ must be at the root of the host, as for
// every registry.
//
// A repository is a wall: a blob is mounted from one that the caller may pull
// from. Without "from" it is looked for in some that it was uploaded to; where
// that finds nothing an upload begins, as the specification allows.
//
// The Location of an upload says how far it has come, so that a server that
// another one has overtaken knows that it must ask the bucket.
//
// The Range of an upload without bytes is "0-0", as the field has it, which is
// also what it is after one byte; the header Upload-Offset has the exact count.
package registry

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/cursor"
	"github.com/laminastore/lamina/server/limit"
	"github.com/laminastore/lamina/server/telemetry"
)

// Options of a handler; the zero value means the defaults.
type Options struct {
	// GRPCPort is where this server's gRPC API listens. It is told at /v2/ in
	// the header Lamina-Grpc-Port, by which our own client finds it; 0: nowhere.
	GRPCPort int
	// IdleTimeout is how long a client may neither send nor take a byte while
	// the server waits for it: 1 min. The time that the bucket takes is not
	// counted.
	IdleTimeout time.Duration
	// MinRate is how many bytes a second a client must send or take, as long as
	// the server waits for it, over each IdleTimeout: 0 means any.
	MinRate int64
	// HeaderTimeout is how long the header of a request may take: 30 s.
	HeaderTimeout time.Duration
	// MaxHeader is how many bytes it may have: 64 KiB.
	MaxHeader int
	// MaxStreams is how many requests one connection may make at once in HTTP/2:
	// 128.
	MaxStreams int
	// Limiter counts requests; nil means that none is refused.
	Limiter *limit.Limiter
	// Access says who may do what: access.AllowAll().
	Access *access.Control
	// Redirect sends clients to the bucket itself for blobs, where the bucket has
	// presigned URLs and the bytes are there as they were pushed. Nobody checks
	// them on that way but the client.
	Redirect bool
	// Logger gets one line a request: slog.Default().
	Logger *slog.Logger
	// Telemetry measures the requests; nil: nothing does.
	Telemetry *telemetry.Telemetry
}

// The limits of what a client may ask for; those of manifests are in package
// images.
const (
	// MaxPage is how many names a list has at most; the rest is on further
	// pages, by the header Link.
	MaxPage = 1000

	defaultMaxHeader     = 64 << 10 // bytes
	defaultMaxStreams    = 128
	defaultHeaderTimeout = 30 * time.Second
)

type handler struct {
	store  *blobstore.Store
	images *images.Images
	opts   Options
	log    *slog.Logger

	cursors *cursor.Sealer
}

// New returns the handler of everything under /v2/. It keeps nothing of its
// own: store and im stay the caller's, and any number of handlers may share
// them. Mount it where paths are not cleaned (an http.ServeMux redirects what
// has ".." or "//" in it, and a client deserves an error).
func New(store *blobstore.Store, im *images.Images, opts Options) http.Handler {
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Access == nil {
		opts.Access = access.AllowAll()
	}
	return &handler{store: store, images: im, opts: opts, log: opts.Logger, cursors: cursor.New(store.Records())}
}

// NewServer returns a server for h, a handler made by New, with the limits that
// a handler cannot set itself. The caller lets it serve and shuts it down.
func NewServer(h http.Handler, opts Options) *http.Server {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cmp.Or(opts.HeaderTimeout, defaultHeaderTimeout),
		IdleTimeout:       2 * time.Minute, // between two requests
		MaxHeaderBytes:    cmp.Or(opts.MaxHeader, defaultMaxHeader),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: cmp.Or(opts.MaxStreams, defaultMaxStreams)},
		ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
	}
}
