package access

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Which part of a certificate names who has it.
const (
	subjectCN    = "cn"
	subjectDNS   = "dns"
	subjectEmail = "email"
	subjectURI   = "uri"
)

var certificateSubjects = []string{subjectCN, subjectDNS, subjectEmail, subjectURI}

// Certificates are the authorities whose client certificates are accepted.
type certificates struct {
	pool    *x509.CertPool
	subject string
}

// identify checks the chain that the peer of a connection has shown; that it has
// the key was checked when the connection was made. The check is repeated with
// each request, so that a certificate that expires, or an authority that is no
// longer accepted, is found out on connections that stay open.
// Errors: ErrCredentials.
func (c *certificates) identify(state *tls.ConnectionState, now time.Time) (identity, error) {
	leaf := state.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return identity{}, fmt.Errorf("%w: client certificate: %w", ErrCredentials, err)
	}
	name := ""
	switch {
	case c.subject == subjectCN:
		name = leaf.Subject.CommonName
	case c.subject == subjectDNS && len(leaf.DNSNames) > 0:
		name = leaf.DNSNames[0]
	case c.subject == subjectEmail && len(leaf.EmailAddresses) > 0:
		name = leaf.EmailAddresses[0]
	case c.subject == subjectURI && len(leaf.URIs) > 0:
		name = leaf.URIs[0].String()
	}
	if err := checkName(name); err != nil {
		return identity{}, fmt.Errorf("%w: client certificate: its %s cannot be a subject: %w", ErrCredentials, c.subject, err)
	}
	return identity{Kind: kindCertificate, Name: name}, nil
}
