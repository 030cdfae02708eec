// Package tlsfiles serves TLS with a certificate and key from files, and takes
// new ones up without a restart.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/laminastore/lamina/internal/reload"
)

// maxFile is the size in bytes of the largest file that is read.
const maxFile = 1 << 20

// ErrPair is the class of all errors of a certificate and key that cannot be used.
var ErrPair = errors.New("TLS certificate and key cannot be used")

// Options are what Open needs beside the files; the zero value is good.
type Options struct {
	Logger *slog.Logger // slog.Default()
	// Every is how often the files are looked at for changes: 5 s. Negative:
	// never, only Look does.
	Every time.Duration
}

// A Pair is a certificate, with the chain that belongs to it, and its key. Safe
// for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu    sync.Mutex
	files *reload.Files // as the last attempt read them

	stop context.CancelFunc
	work sync.WaitGroup
}

// Open reads a certificate and its key, in PEM, from two files, and looks for
// changes of them until Close. Errors: ErrPair.
func Open(certFile, keyFile string, o Options) (*Pair, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	p := &Pair{certFile: certFile, keyFile: keyFile, log: o.Logger}
	if err := p.load(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	if o.Every > 0 {
		p.work.Go(func() { reload.Poll(ctx, o.Every, func(context.Context) { _, _ = p.Look() }) })
	}
	return p, nil
}

// Close ends the looking for changes. When it returns, nothing runs any more.
func (p *Pair) Close() {
	p.stop()
	p.work.Wait()
}

// Config is a configuration of a server that always shows the newest
// certificate. Connections that stand are not touched.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}

// Look reads the files again if they have changed, and says whether it took up
// what is in them. When they cannot be used, as halfway through a change of the
// two, the old ones go on; that is logged, once for each change. Errors: ErrPair.
func (p *Pair) Look() (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.files.Changed() {
		return false, nil
	}
	if err := p.load(); err != nil {
		p.log.Error("the changed TLS certificate is not used, the old one goes on: mend it", "error", err)
		return false, err
	}
	p.log.Info("TLS certificate was read again", "file", p.certFile, "not_after", p.current.Load().Leaf.NotAfter)
	return true, nil
}

func (p *Pair) load() error {
	files := &reload.Files{}
	p.files = files
	cert, err := files.Read(p.certFile, maxFile)
	key, kerr := files.Read(p.keyFile, maxFile) // both, so that both are looked at again
	if err := errors.Join(err, kerr); err != nil {
		return fmt.Errorf("%w: %w", ErrPair, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%w: %s and %s: %w", ErrPair, p.certFile, p.keyFile, err)
	}
	if pair.Leaf == nil { // GODEBUG=x509keypairleaf=0
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrPair, p.certFile, err)
		}
	}
	now := time.Now()
	if now.After(pair.Leaf.NotAfter) {
		p.log.Warn("the TLS certificate has expired: clients will refuse it", "file", p.certFile, "not_after", pair.Leaf.NotAfter)
	}
	p.current.Store(&pair)
	return nil
}
