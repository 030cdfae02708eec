package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/laminastore/lamina/internal/tlsfiles"
	"github.com/laminastore/lamina/server/access/accesstest"
)

// served is the certificate that a client of the pair is shown.
func served(t *testing.T, p *tlsfiles.Pair, ca *accesstest.CA) *x509.Certificate {
	t.Helper()
	c, s := net.Pipe()
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		defer s.Close()
		done <- tls.Server(s, p.Config()).HandshakeContext(t.Context())
	}()
	client := tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	cert := client.ConnectionState().PeerCertificates[0]
	_ = c.Close()
	<-done
	return cert
}

func TestChangedCertificatesAreTakenUp(t *testing.T) {
	ca := accesstest.NewCA(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first, second := ca.Server(), ca.Server()
	accesstest.WritePair(t, first, cert, key)
	var log bytes.Buffer
	p, err := tlsfiles.Open(cert, key, tlsfiles.Options{Every: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	look := func(changed bool, want error, shown *tls.Certificate) {
		t.Helper()
		got, err := p.Look()
		if got != changed || !errors.Is(err, want) {
			t.Errorf("look: %v, %v", got, err)
		}
		if !served(t, p, ca).Equal(shown.Leaf) {
			t.Error("another certificate is served")
		}
	}
	look(false, nil, first)

	// Halfway: the new certificate with the old key.
	accesstest.WritePair(t, second, cert, filepath.Join(dir, "tls.key.new"))
	look(false, tlsfiles.ErrPair, first)
	look(false, nil, first) // told of once
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged: %s", n, &log)
	}
	if err := os.Rename(filepath.Join(dir, "tls.key.new"), key); err != nil {
		t.Fatal(err)
	}
	look(true, nil, second)

	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	look(false, tlsfiles.ErrPair, second)
	accesstest.WritePair(t, first, cert, key)
	look(true, nil, first)
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("the log has the key")
	}
}

func TestPairsThatCannotBeUsed(t *testing.T) {
	ca := accesstest.NewCA(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	accesstest.WritePair(t, ca.Server(), file("a.crt"), file("a.key"))
	accesstest.WritePair(t, ca.Server(), file("b.crt"), file("b.key"))
	for _, c := range [][2]string{{"a.crt", "b.key"}, {"a.crt", "none"}, {"none", "a.key"}, {"a.key", "a.crt"}} {
		_, err := tlsfiles.Open(file(c[0]), file(c[1]), tlsfiles.Options{})
		if !errors.Is(err, tlsfiles.ErrPair) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
