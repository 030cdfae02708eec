package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// fetchWithin is how long an issuer may take to answer.
const fetchWithin = 10 * time.Second

// newIssuerKeys returns the keys of c's issuer. It asks nobody yet.
func newIssuerKeys(c issuerConfig, now func() time.Time) *issuerKeys {
	k := &issuerKeys{now: now}
	if c.jwksText != "" {
		k.keys, _ = parseJWKS([]byte(c.jwksText)) // was checked when it was read
		return k
	}
	client := newIssuerClient(c.caPEM)
	k.fetch = func(ctx context.Context) ([]jose.JSONWebKey, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchWithin)
		defer cancel()
		from := c.jwksURL
		if from == "" {
			var err error
			if from, err = discover(ctx, client, c.issuer); err != nil {
				return nil, err
			}
		}
		data, err := fetch(ctx, client, from)
		if err != nil {
			return nil, err
		}
		keys, err := parseJWKS(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		return keys, nil
	}
	return k
}

// newIssuerClient keeps no connections: it is used every ten minutes.
func newIssuerClient(caPEM string) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	if caPEM != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(caPEM))
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || !isSecureURL(r.URL.String()) {
			return errors.New("it redirects to where keys are not taken from")
		}
		return nil
	}}
}

// discover asks an issuer where its keys are (OpenID Connect Discovery 1.0,
// section 4).
func discover(ctx context.Context, client *http.Client, issuer string) (string, error) {
	at := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	data, err := fetch(ctx, client, at)
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return "", fmt.Errorf("%s: %w", at, err)
	}
	if doc.Issuer != issuer {
		return "", fmt.Errorf("%s is about another issuer, %.128q: write issuer in the configuration just as it is there", at, doc.Issuer)
	}
	if !isSecureURL(doc.JWKSURI) {
		return "", fmt.Errorf("%s: jwks_uri %.128q is no https:// URL", at, doc.JWKSURI)
	}
	return doc.JWKSURI, nil
}

func fetch(ctx context.Context, client *http.Client, from string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: it answers %s", from, answer.Status)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if len(data) > maxJWKS {
		return nil, fmt.Errorf("%s: it has more than %d bytes", from, maxJWKS)
	}
	return data, nil
}
