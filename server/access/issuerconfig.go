package access

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// An issuerConfig says whose tokens are accepted. It is comparable: an issuer
// that a reload does not change keeps the keys that it has.
type issuerConfig struct {
	issuer   string
	audience string
	jwksURL  string // "" when the issuer says it itself
	jwksText string // of a file
	caPEM    string // "" for the system's authorities
	subject  string // the claim that has the subject
	groups   string // the claim that has the groups; "" when none has
	prefix   string // before the names of groups
}

func (l *loader) issuers(f *configFile) {
	if !list(l, "issuers", f.Issuers, 0, maxTables) {
		return
	}
	seen := make(map[string]bool)
	for i, x := range f.Issuers {
		path := fmt.Sprintf("issuers[%d].", i)
		c := issuerConfig{issuer: x.Issuer, audience: x.Audience, subject: x.Subject, groups: x.Groups, prefix: x.GroupPrefix}
		switch {
		case !isSecureURL(x.Issuer):
			l.Fail(path+"issuer", "%.128q is no https:// URL", x.Issuer)
		case strings.ContainsAny(x.Issuer, "#*"):
			l.Fail(path+"issuer", "%.128q: an issuer's URL has neither # nor *", x.Issuer)
		case seen[x.Issuer]:
			l.Fail(path+"issuer", "%s is there twice", x.Issuer)
		}
		seen[x.Issuer] = true
		if c.audience == "" {
			l.Fail(path+"audience", "it is missing: tokens made for others would be accepted")
		}
		if c.subject == "" {
			c.subject = defaultSubject
		}
		if c.prefix != "" && checkName(c.prefix) != nil {
			l.Fail(path+"group-prefix", "%.64q has spaces or invisible characters, or is too long", c.prefix)
		}
		l.issuerKeys(path, x.JWKS, x.CA, &c)
		l.cfg.issuers = append(l.cfg.issuers, c)
	}
}

// issuerKeys reads where the keys of an issuer come from.
func (l *loader) issuerKeys(path, jwks, ca string, c *issuerConfig) {
	switch {
	case strings.Contains(jwks, "://"):
		if !isSecureURL(jwks) {
			l.Fail(path+"jwks", "%.128q is neither an https:// URL nor a file", jwks)
		}
		c.jwksURL = jwks
	case jwks != "":
		data, name, ok := l.read(path+"jwks", jwks, maxJWKS)
		if !ok {
			break
		}
		if keys, err := parseJWKS(data); err != nil {
			l.Fail(path+"jwks", "%s: %w", name, err)
		} else if len(keys) == 0 {
			l.Fail(path+"jwks", "%s has no public key for signatures", name)
		}
		c.jwksText = string(data)
	}
	if ca != "" {
		data, name, ok := l.read(path+"ca", ca, maxConfigSize)
		if ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
			l.Fail(path+"ca", "%s has no certificate in PEM", name)
		}
		c.caPEM = string(data)
	}
}

// isSecureURL says whether keys can be had from s without anybody between: by
// https, or from this machine.
func isSecureURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || checkName(s) != nil {
		return false
	}
	if u.Scheme == "http" {
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	}
	return u.Scheme == "https"
}
