package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/server"
)

func (a *app) serve() *cobra.Command {
	var limits, collect func(*server.Config) error
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve images: the OCI registry and Lamina's own API over one bucket",
		Long: `Serves the images in a bucket, to docker, containerd, skopeo and the like as an OCI
registry over HTTP, and to Lamina's own commands and hosts over gRPC. Any number of
servers may share one bucket.

Without --access everything is open to everyone on this machine, and no other is
served: an address that is not on loopback is refused. --access names the file that
says who may do what; "open" lets in whoever reaches the server.

The bucket is file:///DIR (a local disk), s3://BUCKET[/PREFIX]?endpoint=URL&region=…
(with the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) or memory:.
An address may be "off".`,
		Example: `  lamina serve
  lamina serve --bucket file:///srv/images --http :5000 --grpc :7070 \
    --access /etc/lamina/access.toml --tls-cert /etc/lamina/tls.pem --tls-key /etc/lamina/tls.key
  lamina serve --bucket 's3://images?endpoint=https://s3.example.org&region=eu-central-1'`,
		Args: atMost(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := a.logger(cmd)
			if err != nil {
				return err
			}
			f := cmd.Flags()
			cfg := server.Config{Logger: log, Version: buildVersion()}
			cfg.Bucket, _ = f.GetString("bucket")
			cfg.HTTP, _ = f.GetString("http")
			cfg.GRPC, _ = f.GetString("grpc")
			cfg.Metrics, _ = f.GetString("metrics")
			if cfg.Realms, cfg.ChangeRealms, err = realms(cmd); err != nil {
				return err
			}
			cfg.StopWithin, _ = f.GetDuration("stop-within")
			cfg.Redirect, _ = f.GetBool("redirect")
			cfg.AllowSparse, _ = f.GetBool("allow-sparse")
			cfg.Access, _ = f.GetString("access")
			cfg.TLSCert, _ = f.GetString("tls-cert")
			cfg.TLSKey, _ = f.GetString("tls-key")
			if err := limits(&cfg); err != nil {
				return err
			}
			if err := collect(&cfg); err != nil {
				return err
			}
			slog.SetDefault(log)
			return server.Run(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.String("bucket", server.DefaultBucket, "the `URL` of the bucket")
	f.String("http", server.DefaultHTTP, "the `ADDRESS` of the OCI registry")
	f.String("grpc", server.DefaultGRPC, "the `ADDRESS` of the gRPC API")
	f.String("metrics", server.DefaultMetrics, "the `ADDRESS` of /healthz, /readyz and metrics")
	addRealms(cmd)
	f.Duration("stop-within", server.DefaultStopWithin, "how long transfers that are under way may take when the server is stopped")
	f.Bool("redirect", false, "send clients to the S3 bucket for blobs, by URLs that last 5 minutes; nobody but the client checks those bytes")
	f.Bool("allow-sparse", false, "accept an image although some of its layers, or an index although some of its images, have not been pushed")
	f.String("access", "", "the `FILE` that says who may do what; or open")
	f.String("tls-cert", "", "a `FILE` with the certificate for both APIs (and its chain), in PEM; read again when it changes")
	f.String("tls-key", "", "the `FILE` with its key")
	collect = addCollect(f)
	limits = addLimits(f)
	addLog(cmd)
	return cmd
}

// addLog gives a command the flags of those that write a log.
func addLog(cmd *cobra.Command) {
	cmd.Flags().String("log-level", "info", "the least important `LEVEL` to log: debug, info, warn or error")
	cmd.Flags().String("log-format", "text", "how to log: text, or json")
}

// logger writes to standard error.
func (a *app) logger(cmd *cobra.Command) (*slog.Logger, error) {
	level, _ := cmd.Flags().GetString("log-level")
	format, _ := cmd.Flags().GetString("log-format")
	return newLogger(a.err, level, format)
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q is none of debug, info, warn, error", level)
	}
	o.Level = l
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q is neither text nor json", format)}
}
