package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/internal/tlsfiles"
	"github.com/laminastore/lamina/server/access"
)

// ErrOpen: an address that other machines reach, and no word on who may do what.
var ErrOpen = errors.New("not served to other machines without access rules")

// security is who may do what, and how it is spoken.
type security struct {
	access *access.Control
	pair   *tlsfiles.Pair // nil: plain text
}

// secure reads what cfg says of access and TLS. Errors: access.ErrConfig, and
// those of the files.
func secure(ctx context.Context, b bucket.Bucket, d *doors, cfg Config) (s security, err error) {
	file := cfg.Access
	if file == "" {
		file = access.Everything
	}
	o := access.Options{Bucket: b, Logger: cfg.Logger, Every: cfg.Reload}
	if cfg.Store.Clock != nil {
		o.Now = cfg.Store.Clock.Now
	}
	if s.access, err = access.Open(ctx, file, o); err != nil {
		return s, err
	}
	if s.pair, err = cfg.certificate(); err != nil {
		return s, errors.Join(err, s.access.Close(ctx))
	}
	if s.pair != nil {
		for _, o := range []*door{d.http, d.grpc} {
			if o != nil {
				o.scheme += "s"
			}
		}
	}
	s.warn(d, cfg.Logger)
	return s, nil
}

// close ends what looks for changes of files.
func (s security) close(ctx context.Context) error {
	if s.pair != nil {
		s.pair.Close()
	}
	return s.access.Close(ctx)
}

// certificate is nil when there is to be no TLS.
func (c Config) certificate() (*tlsfiles.Pair, error) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil, nil
	case c.TLSCert == "" || c.TLSKey == "":
		return nil, errors.New("--tls-cert and --tls-key go together: give both files, or none")
	}
	pair, err := tlsfiles.Open(c.TLSCert, c.TLSKey, tlsfiles.Options{Logger: c.Logger, Every: c.Reload})
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return pair, nil
}

// tls is the configuration of a listener that speaks these protocols over TLS;
// nil without a certificate.
func (s security) tls(protocols ...string) *tls.Config {
	if s.pair == nil {
		return nil
	}
	c := s.pair.Config()
	// Here, since what is chosen for each connection is a copy.
	c.NextProtos = protocols
	return s.access.TLS(c)
}

// serveHTTP is how h serves a listener.
func (s security) serveHTTP(h *http.Server) func(net.Listener) error {
	h.TLSConfig = s.tls("h2", "http/1.1")
	if h.TLSConfig == nil {
		return h.Serve
	}
	return func(l net.Listener) error { return h.ServeTLS(l, "", "") }
}

// loopback says whether only this machine reaches the door.
func (d *door) loopback() bool {
	a, ok := d.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// outside are the APIs' doors that other machines reach.
func (d *doors) outside() (open []*door) {
	for _, d := range []*door{d.http, d.grpc} {
		if d != nil && !d.loopback() {
			open = append(open, d)
		}
	}
	return open
}

// closedToOthers refuses what would let in everybody without anyone having said
// so. Errors: ErrOpen.
func (d *doors) closedToOthers(cfg Config) error {
	if cfg.Access != "" {
		return nil
	}
	for _, o := range d.outside() {
		return fmt.Errorf("%s %s: %w: say who may do what with --access FILE (docs/access.md), "+
			"or that whoever reaches it may do everything with --access open, or listen on 127.0.0.1",
			o.option, o.Addr(), ErrOpen)
	}
	return nil
}

// warn tells what is open to whom, at every start.
func (s security) warn(d *doors, log *slog.Logger) {
	outside := d.outside()
	// On loopback, and with nothing said of access, that is how it is meant.
	if !s.access.Open() || len(outside) > 0 {
		for _, w := range s.access.Warnings() {
			log.Warn(w)
		}
	}
	for _, o := range outside {
		if s.pair == nil && !s.access.Open() {
			log.Warn(fmt.Sprintf("passwords and tokens come to %s as plain text, for whoever is on the way to read: "+
				"set --tls-cert and --tls-key, or put a proxy with TLS in front (%s)", o.Addr(), o.option))
		}
	}
	if d.metrics != nil && !d.metrics.loopback() {
		log.Warn(fmt.Sprintf("whoever reaches %s may read health and metrics: nobody is asked who they are there (%s)",
			d.metrics.Addr(), d.metrics.option))
	}
}
