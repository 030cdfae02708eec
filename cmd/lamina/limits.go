package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/laminastore/lamina/server"
)

// defaultIdle is how long a client may stand still.
const defaultIdle = time.Minute

// addLimits gives a command the flags of a server's limits (docs/limits.md). What
// it returns puts their values into a configuration, and says which are wrong.
func addLimits(f *pflag.FlagSet) func(*server.Config) error {
	l := server.DefaultLimits()
	var idle time.Duration
	number := func(v *int64, flag, usage string) { f.Int64Var(v, flag, *v, usage) }
	number(&l.Header, "max-header", "the largest header of an HTTP request, in `BYTES`")
	f.DurationVar(&l.HeaderTimeout, "header-timeout", l.HeaderTimeout, "the `TIME` that it may take to arrive")
	f.DurationVar(&idle, "idle-timeout", defaultIdle, "the `TIME` that a client may neither send nor take a byte")
	number(&l.MinRate, "min-rate", "the `BYTES` a second that a client must send or take while the server waits for it; 0: any")
	number(&l.Blob, "max-blob", "the largest blob that may be pushed, in `BYTES`; 0: what the bucket takes")
	number(&l.Manifest, "max-manifest", "the largest manifest that may be pushed, in `BYTES`")
	number(&l.Depth, "max-json-depth", "the `DEPTH` to which the JSON of manifests may be nested")
	number(&l.Message, "max-message", "the largest message of the gRPC API, in `BYTES`")
	number(&l.Streams, "max-streams", "the `NUMBER` of requests that one connection may make at once (HTTP/2, gRPC)")
	f.DurationVar(&l.UploadAge, "upload-age", l.UploadAge, "the `AGE` at which an upload that is not finished is let go; the same on all servers of a bucket")
	number(&l.Requests, "max-requests", "the `NUMBER` of requests at once, of all callers; 0: any")
	number(&l.RequestsPerCaller, "max-requests-per-caller", "the `NUMBER` of requests at once of one caller; 0: any")
	number(&l.Uploads, "max-uploads", "the `NUMBER` of requests at once that bring bytes, of all callers; 0: any")
	number(&l.UploadsPerCaller, "max-uploads-per-caller", "the `NUMBER` of requests at once that bring bytes of one caller; 0: any")
	number(&l.Rate, "max-rate", "the `NUMBER` of requests a second, of all callers; 0: any")
	number(&l.RatePerCaller, "max-rate-per-caller", "the `NUMBER` of requests a second of one caller; 0: any")
	number(&l.Logins, "max-wrong-passwords", "the `NUMBER` of wrong passwords a minute from one address; 0: any")
	return func(cfg *server.Config) error {
		err := l.Check()
		if idle < time.Second {
			err = errors.Join(err, usagef("--idle-timeout is %s, it must be at least 1s", idle))
		}
		if err != nil {
			return usageError{err}
		}
		cfg.Limits, cfg.Idle = l, idle
		return nil
	}
}
