package access

import (
	"net/http"
	"regexp"
	"strings"
)

// TokenPath is where ServeToken is to be found.
const TokenPath = "/v2/token"

var hostRE = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,300}$`)

// Challenge is the value of WWW-Authenticate with which a request is told how
// to get in, and that it needs the scopes. It is "" when everything is open.
// Bearer comes first: clients that look at one challenge only take that, and it
// serves everybody, the anonymous too.
func (c *Control) Challenge(r *http.Request, scopes ...Scope) string {
	if c.open {
		return ""
	}
	s := c.state.Load()
	var b strings.Builder
	b.WriteString(`Bearer realm="` + s.realmFor(r) + `",service="` + s.service + `"`)
	if len(scopes) > 0 {
		b.WriteString(`,scope="`)
		for i, x := range scopes {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(strings.ReplaceAll(x.String(), `"`, ""))
		}
		b.WriteString(`"`)
	}
	if s.users != nil {
		b.WriteString(", " + basicChallenge)
	}
	return b.String()
}

const basicChallenge = `Basic realm="lamina",charset="UTF-8"`

// realmFor is the URL at which the client of r gets tokens: on the host that it
// asked, unless the configuration has another. A proxy that ends TLS says so in
// X-Forwarded-Proto. Anyone may say that, and makes only its own answer safer.
func (s *state) realmFor(r *http.Request) string {
	if s.realm != "" {
		return s.realm
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	host := r.Host
	if !hostRE.MatchString(host) {
		host = "localhost"
	}
	return scheme + "://" + host + TokenPath
}
