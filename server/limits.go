package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/server/limit"
	"github.com/laminastore/lamina/server/registry"
	"github.com/laminastore/lamina/server/rpc"
)

// Limits bound what clients may ask of a server. Where 0 is allowed it means no
// limit, except in Config: there the zero Limits are DefaultLimits.
type Limits struct {
	// Header is how many bytes the header of an HTTP request may have.
	Header int64
	// HeaderTimeout is how long it may take to arrive.
	HeaderTimeout time.Duration
	// MinRate is how many bytes a second a client must send or take while the
	// server waits for it, over each Config.Idle. 0: any.
	MinRate int64
	// Blob is how many bytes a blob may have that is pushed. 0: as many as the
	// bucket takes, 10,000 parts on S3.
	Blob int64
	// Manifest is how many bytes a manifest may have that is pushed, at most
	// images.MaxManifestSize, and Depth how deep its JSON may be nested, at most
	// images.MaxDepth: what is stored must be readable by all, for ever.
	Manifest, Depth int64
	// Message is how many bytes a gRPC message may have; a manifest must fit in.
	Message int64
	// Streams is how many requests one connection may make at once, in HTTP/2 and
	// gRPC.
	Streams int64
	// UploadAge is the age at which an upload that has not been finished is let
	// go, at most MaxUploadAge. The same on all servers of a bucket.
	UploadAge time.Duration
	// Requests and Uploads are how many may be under way at once. An upload is a
	// request that brings bytes. 0: any.
	Requests, RequestsPerCaller, Uploads, UploadsPerCaller int64
	// Rate is how many requests may begin a second. 0: any.
	Rate, RatePerCaller int64
	// Logins is how many wrong passwords a minute an address may try. 0: any.
	Logins int64
}

// MaxUploadAge is how old an upload may be that is finished: the collection of
// garbage relies on it.
const MaxUploadAge = 24 * time.Hour

// messageRoom is what a gRPC message with a manifest holds beside it.
const messageRoom = 64 << 10

// DefaultLimits are right for a server that many use, and none of them too much.
func DefaultLimits() Limits {
	return Limits{
		Header: 64 << 10, HeaderTimeout: 30 * time.Second, MinRate: 1 << 10,
		Manifest: images.MaxManifestSize, Depth: images.MaxDepth, Message: 8 << 20, Streams: 128,
		UploadAge: MaxUploadAge,
		Requests:  1000, RequestsPerCaller: 250, Uploads: 250, UploadsPerCaller: 100,
		Logins: 30,
	}
}

// ErrLimits is the class of limits that cannot be used.
var ErrLimits = errors.New("limit cannot be used")

// Check says which limits cannot be used, each by the name of its flag.
func (l Limits) Check() error {
	var errs []error
	between := func(flag string, v, least, most int64, why string) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("%w: --%s is %d, it must be from %d to %d: %s", ErrLimits, flag, v, least, most, why))
		}
	}
	const many = 1 << 30
	between("max-header", l.Header, 4<<10, 1<<20, "bytes; tokens take some thousand")
	between("max-manifest", l.Manifest, 4<<10, images.MaxManifestSize, "bytes; no client reads larger ones")
	between("max-json-depth", l.Depth, 8, images.MaxDepth, "image indexes are nested 5 deep")
	between("max-message", l.Message, l.Manifest+messageRoom, 64<<20, "bytes; a manifest must fit in (--max-manifest)")
	between("max-streams", l.Streams, 1, 10_000, "requests on one connection")
	between("min-rate", l.MinRate, 0, 1<<20, "bytes a second, 0 for none")
	if l.Blob != 0 {
		between("max-blob", l.Blob, 1<<20, 1<<50, "bytes, 0 for no limit")
	}
	for flag, v := range map[string]int64{
		"max-requests": l.Requests, "max-requests-per-caller": l.RequestsPerCaller,
		"max-uploads": l.Uploads, "max-uploads-per-caller": l.UploadsPerCaller,
		"max-rate": l.Rate, "max-rate-per-caller": l.RatePerCaller, "max-wrong-passwords": l.Logins,
	} {
		between(flag, v, 0, many, "0 for no limit")
	}
	if l.HeaderTimeout < time.Second {
		errs = append(errs, fmt.Errorf("%w: --header-timeout is %s, it must be at least 1s", ErrLimits, l.HeaderTimeout))
	}
	if l.UploadAge < time.Minute || l.UploadAge > MaxUploadAge {
		errs = append(errs, fmt.Errorf("%w: --upload-age is %s, it must be from 1m to %s: what is older may be garbage", ErrLimits, l.UploadAge, MaxUploadAge))
	}
	return errors.Join(errs...)
}

// limiter is what both APIs count their requests by.
func (l Limits) limiter() *limit.Limiter {
	return limit.New(limit.Options{
		Requests: int(l.Requests), RequestsPerCaller: int(l.RequestsPerCaller),
		Uploads: int(l.Uploads), UploadsPerCaller: int(l.UploadsPerCaller),
		Rate: int(l.Rate), RatePerCaller: int(l.RatePerCaller), Logins: int(l.Logins),
	})
}

func (l Limits) ofRegistry(o registry.Options, by *limit.Limiter) registry.Options {
	o.MinRate, o.HeaderTimeout, o.MaxHeader, o.MaxStreams = l.MinRate, l.HeaderTimeout, int(l.Header), int(l.Streams)
	o.Limiter = by
	return o
}

func (l Limits) ofRPC(o rpc.Options, by *limit.Limiter) rpc.Options {
	o.MinRate, o.MaxMessage, o.MaxStreams = l.MinRate, int(l.Message), int(l.Streams)
	o.Limiter = by
	return o
}
