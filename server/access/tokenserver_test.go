package access_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestTokenByGet(t *testing.T) {
	w := newWorld(t)
	a := get(t, w.Control, w.Reader, "repository:team/app:pull,push")
	if a.status != http.StatusOK || a.Token == "" || a.Token != a.AccessToken || a.ExpiresIn != 300 || a.Refresh != "" || a.Scope != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if at, err := time.Parse(time.RFC3339, a.IssuedAt); err != nil || !at.Equal(w.clock.Now().Truncate(time.Second)) {
		t.Errorf("issued at %s", a.IssuedAt)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", a.header)
	}
	for _, c := range w.Refused() {
		a := get(t, w.Control, c)
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, "UNAUTHORIZED") || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %d %s", c.Name, a.status, a.body)
		}
	}
	// A user who does not exist is told what a wrong password is told.
	wrong, unknown := get(t, w.Control, w.Wrong), get(t, w.Control, accesstest.Caller{Authorization: accesstest.Basic("nobody", "x")})
	if wrong.body != unknown.body || wrong.status != unknown.status {
		t.Errorf("%s\n%s", wrong.body, unknown.body)
	}
}

func TestATokenIsNotHadForAToken(t *testing.T) {
	w := newWorld(t)
	tok := token(t, w.Control, w.Owner, "repository:team/app:pull")
	for _, c := range []string{"Bearer " + tok, accesstest.Basic("_token", tok)} {
		if a := get(t, w.Control, accesstest.Caller{Authorization: c}); a.status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := post(t, w.Control, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tok}}); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAnIssuersTokenInPlaceOfAPassword(t *testing.T) {
	w := newWorld(t)
	tok := w.Issuer.Token("ci", "pipelines")
	for _, who := range []string{accesstest.Basic("_token", tok), "Bearer " + tok, "bearer  " + tok} {
		c, err := w.bearer(w.Control, t, token(t, w.Control, accesstest.Caller{Authorization: who}, "repository:team/app:push"))
		if err != nil || c.Subject() != w.CI.Subject || !c.May(access.Push, app) {
			t.Errorf("%.10s: %v, %v", who, c, err)
		}
	}
}

func TestTokenByPost(t *testing.T) {
	w := newWorld(t)
	scope := "repository:team/app:pull,push repository:team/other:pull registry:catalog:*"
	base := url.Values{"service": {"lamina"}, "client_id": {"docker"}, "access_type": {"offline"}, "scope": {scope}}
	with := func(pairs ...string) url.Values {
		f := url.Values{}
		for k, v := range base {
			f[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	a := post(t, w.Control, with("grant_type", "password", "username", "reader", "password", accesstest.Password("reader")))
	if a.status != http.StatusOK || a.AccessToken == "" || a.Refresh != "" || a.Scope != "repository:team/app:pull repository:team/other:pull registry:catalog:*" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if c, err := w.bearer(w.Control, t, a.AccessToken); err != nil || !c.May(access.Pull, app) || c.May(access.Push, app) || !c.MayList() {
		t.Errorf("%v, %v", c, err)
	}
	a = post(t, w.Control, with("grant_type", "refresh_token", "refresh_token", w.Issuer.Token("ci", "pipelines")))
	if c, err := w.bearer(w.Control, t, a.AccessToken); err != nil || !c.May(access.Push, app) {
		t.Errorf("%v, %v, %s", c, err, a.body)
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
	}{
		"wrong password":     {with("grant_type", "password", "username", "reader", "password", "x"), http.StatusUnauthorized},
		"no password":        {with("grant_type", "password"), http.StatusUnauthorized},
		"refresh with words": {with("grant_type", "refresh_token", "refresh_token", "x"), http.StatusUnauthorized},
		"another grant":      {with("grant_type", "authorization_code"), http.StatusBadRequest},
		"no grant":           {with(), http.StatusBadRequest},
		"a large form":       {with("grant_type", "password", "username", strings.Repeat("x", 70<<10)), http.StatusBadRequest},
	} {
		if a := post(t, w.Control, c.form); a.status != c.status || !strings.Contains(a.body, `"errors"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestRequestsForTokensThatAreRefused(t *testing.T) {
	w := newWorld(t)

	tooMany := url.Values{}
	for range 33 {
		tooMany.Add("scope", "repository:a:pull")
	}
	for name, query := range map[string]string{
		"scope without actions":    "scope=repository:team/app",
		"scope without a name":     "scope=repository::pull",
		"scope of one word":        "scope=x",
		"name that is too long":    "scope=repository:" + strings.Repeat("a", 256) + ":pull",
		"too many actions":         "scope=repository:a:" + strings.Join(strings.Split("abcdefghijklmnopq", ""), ","),
		"too many scopes":          tooMany.Encode(),
		"too many in one":          "scope=" + strings.Repeat("repository:a:pull+", 33),
		"scopes that are too long": "scope=" + strings.Repeat("x", 5000),
		"a long query":             "x=" + strings.Repeat("x", 17<<10),
		"no query":                 "scope=%zz",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/token", nil)
		r.URL.RawQuery = query
		if a := serveToken(t, w.Control, r); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/v2/token", nil)
	if a := serveToken(t, w.Control, r); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		t.Errorf("PUT: %d", a.status)
	}
	r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v2/token", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	if a := serveToken(t, w.Control, r); a.status != http.StatusBadRequest {
		t.Errorf("JSON: %d", a.status)
	}
	r = httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/v2/token", nil)
	if a := serveToken(t, w.Control, r); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}

func TestChallenges(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.example:5000/v2/", nil)
	challenge := func(want string, scopes ...access.Scope) {
		t.Helper()
		if got := w.Control.Challenge(r, scopes...); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	const basic = `, Basic realm="lamina",charset="UTF-8"`
	challenge(`Bearer realm="http://registry.example:5000/v2/token",service="lamina"` + basic)
	challenge(`Bearer realm="http://registry.example:5000/v2/token",service="lamina",scope="repository:a/b:pull,push repository:c:pull"`+basic,
		access.RepositoryScope("a/b", access.Pull, access.Push), access.RepositoryScope("c", access.Pull))
	r.TLS = &tls.ConnectionState{}
	challenge(`Bearer realm="https://registry.example:5000/v2/token",service="lamina",scope="registry:catalog:*"`+basic, access.CatalogScope())
	r.Host = `x",realm="https://evil.example/`
	challenge(`Bearer realm="https://localhost/v2/token",service="lamina"` + basic)
	w.edit(t, "[users]\nhtpasswd", "[tokens]\nservice = \"shop\"\nrealm = \"https://auth.example/v2/token\"\n#")
	challenge(`Bearer realm="https://auth.example/v2/token",service="shop"`)
}

func TestEverythingOpen(t *testing.T) {
	c, err := access.Open(t.Context(), access.Everything, access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Open() || len(c.Warnings()) != 1 {
		t.Errorf("%v, %v", c.Open(), c.Warnings())
	}
	for _, a := range []string{"", "Basic x", "Bearer x", "x"} {
		who, err := c.Identify(t.Context(), access.Credentials{Authorization: a})
		if err != nil || !who.Anonymous() || !who.May(access.Delete, "a") || !who.MayList() || !who.Is(access.Operator) || !who.Is(access.Node) || who.NodeID() != "" {
			t.Errorf("%q: %v, %v", a, who, err)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/token", nil)
	if c.Challenge(r) != "" {
		t.Error("a challenge")
	}
	if a := serveToken(t, c, r); a.status != http.StatusNotFound {
		t.Errorf("a token: %d", a.status)
	}
	conf := &tls.Config{}
	if c.TLS(conf) != conf || c.Reload(t.Context()) != nil || c.Close(t.Context()) != nil {
		t.Error("it does something")
	}
}

func TestWarningsSayWhatIsOpen(t *testing.T) {
	w := newWorld(t)
	if got := strings.Join(w.Control.Warnings(), "\n"); got != "whoever reaches this server may pull from open/** without logging in" {
		t.Error(got)
	}
	w.edit(t, `"user:writer"`, `"anonymous", "user:writer"`, `"user:operator"`, `"anonymous"`)
	got := strings.Join(w.Control.Warnings(), "\n")
	for _, want := range []string{"pull from open/**", "pull from team/**", "push to team/**", "role operator"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	w.edit(t, "[anonymous]\nrepositories", "#", `"anonymous"`, `"user:x"`)
	if got := w.Control.Warnings(); len(got) != 0 {
		t.Error(got)
	}
}

// A name in a scope is not checked until it is looked for in the policies.
func FuzzScope(f *testing.F) {
	f.Add("repository:team/app:pull,push")
	f.Add("repository(plugin):host:5000/a:*")
	f.Add(" registry:catalog:* role:node:*")
	w := accesstest.New(f, memory.New(memory.Options{}))
	owner, err := w.Control.Identify(f.Context(), w.Owner.Credentials())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		a := get(t, w.Control, w.Owner, scope)
		if a.status != http.StatusOK && a.status != http.StatusBadRequest {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a.status != http.StatusOK {
			return
		}
		c, err := w.Control.Identify(t.Context(), access.Credentials{Authorization: "Bearer " + a.Token})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []reference.Repository{app, "other/app", "open/app"} {
			for _, act := range []access.Action{access.Pull, access.Push, access.Delete} {
				if c.May(act, r) && (!owner.May(act, r) || !strings.Contains(scope, string(r))) {
					t.Fatalf("with %q it may %s %s", scope, act, r)
				}
			}
		}
	})
}
