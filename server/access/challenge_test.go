package access

import (
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"testing"
)

// Clients send passwords to the realm: behind a proxy that ends TLS it must not
// send them round the proxy in clear text.
func TestTheRealmIsWhereTheClientAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		tls       bool
		forwarded string
		host      string
		want      string
	}{
		"plain":              {false, "", "images:5000", "http://images:5000/v2/token"},
		"TLS":                {true, "", "images:5000", "https://images:5000/v2/token"},
		"behind a proxy":     {false, "https", "images", "https://images/v2/token"},
		"never down to HTTP": {true, "http", "images", "https://images/v2/token"},
		"what is no host":    {true, "", `a", realm="http://evil`, "https://localhost/v2/token"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/v2/", nil)
			r.Host, r.TLS = tt.host, nil
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-Proto", tt.forwarded)
			}
			if have := (&state{config: &config{}}).realmFor(r); have != tt.want {
				t.Errorf("%s, want %s", have, tt.want)
			}
		})
	}
	r := httptest.NewRequest("GET", "/v2/", nil)
	if c := AllowAll().Challenge(r); strings.Contains(c, "realm") {
		t.Errorf("a challenge where all is open: %s", c)
	}
}
