package server_test

import (
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
)

// A guarded is a server with access rules and TLS, and callers of every kind.
type guarded struct {
	*servertest.Server
	f       *accesstest.Fixture
	server  *accesstest.CA // who signed the server's certificate
	callers []accesstest.Caller
	config  server.Config
}

// startGuarded starts one over a new bucket. Tokens come from another server of
// the bucket: each honours the others'.
func startGuarded(t *testing.T) *guarded {
	t.Helper()
	b := memory.New(memory.Options{})
	g := &guarded{f: accesstest.New(t, b), server: accesstest.NewCA(t)}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	accesstest.WritePair(t, g.server.Server(), cert, key)
	limits := server.DefaultLimits()
	limits.Logins = 0 // there is no end of wrong passwords here
	g.config = server.Config{Limits: limits, Access: g.f.File, TLSCert: cert, TLSKey: key, Logger: slog.New(slog.DiscardHandler)}
	g.Server = servertest.Start(t, servertest.Options{Bucket: b, TLS: g.tls(accesstest.Caller{}), Config: g.config})
	g.callers = append(g.f.All(), g.f.Refused()...)
	before := accesstest.Open(t, g.f.File, access.Options{Bucket: b, Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	both, one := "repository:team/app:pull,push", "repository:team/app:pull"
	g.callers = append(g.callers,
		token(t, "token", g.f.Control, g.f.Writer, both),
		token(t, "narrow token", g.f.Control, g.f.Writer, one),
		token(t, "greedy token", g.f.Control, g.f.Reader, both+",delete registry:catalog:* role:operator:*"),
		token(t, "anonymous token", g.f.Control, g.f.Anonymous, both),
		token(t, "old token", before, g.f.Writer, both),
		accesstest.Caller{Name: "unknown user", Authorization: accesstest.Basic("nobody", "x")},
		accesstest.Caller{Name: "nonsense", Authorization: "Bearer nonsense"},
		accesstest.Caller{Name: "another authority's", Certificate: accesstest.NewCA(t).Client("node-1.nodes.test")},
	)
	return g
}

// token is a caller with a token that another got from c, for scopes.
func token(t *testing.T, name string, c *access.Control, as accesstest.Caller, scopes string) accesstest.Caller {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/v2/token?"+url.Values{"scope": strings.Fields(scopes), "service": {"lamina"}}.Encode(), nil)
	if as.Authorization != "" {
		r.Header.Set("Authorization", as.Authorization)
	}
	w := httptest.NewRecorder()
	c.ServeToken(w, r)
	var answer struct{ Token string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Token == "" {
		t.Fatalf("%s: %d %s", name, w.Code, w.Body)
	}
	return accesstest.Caller{Name: name, Subject: as.Subject, Authorization: "Bearer " + answer.Token}
}

// tls is with what a caller connects.
func (g *guarded) tls(c accesstest.Caller) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: g.server.Pool()}
	if c.Certificate != nil {
		config.Certificates = []tls.Certificate{*c.Certificate}
	}
	return config
}

// Those who may do what to team/app, by name. Everybody else gets what a caller
// without rights gets: 401 or UNAUTHENTICATED if it has not said who it is.
const (
	pullers  = "reader,writer,owner,ci,robot,node,other node,token,narrow token,greedy token"
	pushers  = "writer,owner,ci,token"
	deleters = "owner"
	// Credentials that are wrong are refused wherever somebody looks at them.
	refused = "wrong password,expired token,old token,unknown user,nonsense,another authority's"
	// Tokens for less than their owner may do.
	narrow    = "token,narrow token,greedy token,anonymous token"
	nameless  = "anonymous,anonymous token"
	named     = "stranger,reader,writer,owner,ci,robot,node,other node,host,operator"
	everybody = named + "," + nameless + "," + narrow
)

func among(names string, c accesstest.Caller) bool {
	return strings.Contains(","+names+",", ","+c.Name+",")
}
