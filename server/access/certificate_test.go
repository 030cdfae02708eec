package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		cert    *tls.Certificate
		subject string // "" when it is refused
	}{
		{"good", w.CA.Client("robot"), "cert:robot"},
		{"of a node", w.CA.Client("n7.nodes.test"), "node:n7"},
		{"of a node without an id", w.CA.Client(".nodes.test"), "cert:.nodes.test"},
		{"of a node whose id is none", w.CA.Client("a/b.nodes.test"), "cert:a/b.nodes.test"},
		{"of another authority", accesstest.NewCA(t).Client("robot"), ""},
		{"of a server", w.CA.Server(), ""},
		{"without a name", w.CA.Client(""), ""},
		{"with a name of two words", w.CA.Client("robot two"), ""},
		{"expired", w.CA.Client("robot", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), ""},
		{"not valid yet", w.CA.Client("robot", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), ""},
	} {
		caller, err := w.Control.Identify(t.Context(), accesstest.Caller{Certificate: c.cert}.Credentials())
		switch {
		case c.subject == "" && !errors.Is(err, access.ErrCredentials):
			t.Errorf("%s: %v", c.name, err)
		case c.subject != "" && (err != nil || caller.Subject() != c.subject || caller.Is(access.Node) != (c.subject[:4] == "node")):
			t.Errorf("%s: %v, %v", c.name, caller, err)
		}
	}
	// It expires while its connection stays open.
	cr := w.Robot.Credentials()
	w.clock.turn(13 * time.Hour)
	if _, err := w.Control.Identify(t.Context(), cr); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("on an old connection: %v", err)
	}
}

func TestSubjectsOfCertificates(t *testing.T) {
	w := newWorld(t)
	w.edit(t, "nodes = ", "subject = \"dns\"\nnodes = ")
	cert := w.CA.Client("robot", func(c *x509.Certificate) { c.DNSNames = []string{"n1.nodes.test", "n2.nodes.test"} })
	c, err := w.Control.Identify(t.Context(), accesstest.Caller{Certificate: cert}.Credentials())
	if err != nil || c.Subject() != "node:n1" {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := w.Control.Identify(t.Context(), w.Robot.Credentials()); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("one without: %v", err)
	}
}

func TestCredentialsGoBeforeACertificate(t *testing.T) {
	w := newWorld(t)
	cr := w.Robot.Credentials()
	cr.Authorization = w.Writer.Authorization
	if c, err := w.Control.Identify(t.Context(), cr); err != nil || c.Subject() != "user:writer" {
		t.Errorf("%v, %v", c, err)
	}
	cr.Authorization = w.Wrong.Authorization
	if _, err := w.Control.Identify(t.Context(), cr); !errors.Is(err, access.ErrCredentials) {
		t.Error(err)
	}
}

// handshake connects with a certificate, and returns what the server sees.
func handshake(t *testing.T, server *tls.Config, ca *accesstest.CA, cert *tls.Certificate) tls.ConnectionState {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan tls.ConnectionState, 1)
	go func() {
		s := tls.Server(far, server)
		defer far.Close()
		if err := s.HandshakeContext(t.Context()); err != nil {
			t.Error(err)
		}
		done <- s.ConnectionState()
	}()
	c := tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return cert, nil
	}})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return <-done
}

func TestConnectionsWithCertificates(t *testing.T) {
	w := newWorld(t)
	server := w.Control.TLS(&tls.Config{Certificates: []tls.Certificate{*w.CA.Server()}})
	state := handshake(t, server, w.CA, w.Node.Certificate)
	if c, err := w.Control.Identify(t.Context(), access.Credentials{TLS: &state}); err != nil || c.Subject() != "node:node-1" {
		t.Errorf("%v, %v", c, err)
	}
	other := handshake(t, server, w.CA, accesstest.NewCA(t).Client("node-1.nodes.test"))
	if _, err := w.Control.Identify(t.Context(), access.Credentials{TLS: &other}); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("of another authority: %v", err)
	}
	// Without [certificates] nobody is asked for one, and one that was shown
	// before means nothing any more.
	w.edit(t, "[certificates]\nca", "#ca", "nodes = ", "# nodes = ")
	if now := handshake(t, server, w.CA, w.Node.Certificate); len(now.PeerCertificates) != 0 {
		t.Error("a certificate was asked for")
	}
	if c, err := w.Control.Identify(t.Context(), access.Credentials{TLS: &state}); err != nil || !c.Anonymous() {
		t.Errorf("%v, %v", c, err)
	}
}
