// Package accesstest has callers of every kind, for tests of what stands behind
// package access: files of users, an issuer of tokens, client certificates, and
// a configuration that knows them all.
package accesstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/server/access"
)

// A Caller is somebody, with what it shows.
type Caller struct {
	Name string // as in Fixture
	// Subject is what access.Caller.Subject says of it.
	Subject       string
	Authorization string           // "" when it shows none
	Certificate   *tls.Certificate // nil when it shows none
}

// Credentials are those of a caller whose connection need not be real.
func (c Caller) Credentials() access.Credentials {
	cr := access.Credentials{Authorization: c.Authorization}
	if c.Certificate != nil {
		cr.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{c.Certificate.Leaf}}
	}
	return cr
}

// A Fixture is a configuration and those whom it knows. Repositories under open
// are everybody's to pull; under team they are as the callers say.
type Fixture struct {
	Control *access.Control
	File    string // the configuration
	Issuer  *Issuer
	CA      *CA

	Anonymous Caller // pulls open/**
	Stranger  Caller // user:stranger, who may no more than that
	Reader    Caller // user:reader, pulls team/**
	Writer    Caller // user:writer, pulls from and pushes to team/**
	Owner     Caller // user:owner, does everything to team/**
	CI        Caller // oidc:…#ci, pulls and pushes team/**, by its group
	Robot     Caller // cert:robot, pulls team/**
	Node      Caller // node:node-1, pulls team/**, has the role node
	OtherNode Caller // node:node-2, the same
	UserNode  Caller // user:host, has the role node, without an id of its own
	Operator  Caller // user:operator, has the role operator and no repository
	Wrong     Caller // shows a password that is wrong
	Expired   Caller // shows a token of the issuer that has expired
}

// All are the callers who are who they say, and Refused those who are not.
func (f *Fixture) All() []Caller {
	return []Caller{f.Anonymous, f.Stranger, f.Reader, f.Writer, f.Owner, f.CI, f.Robot, f.Node, f.OtherNode, f.UserNode, f.Operator}
}

// Refused are the callers whose credentials are not accepted.
func (f *Fixture) Refused() []Caller { return []Caller{f.Wrong, f.Expired} }

// Password is that of a user in the fixture's file.
func Password(user string) string { return "secret of " + user }

// Basic is the Authorization of a user with a password.
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const text = `
[anonymous]
repositories = ["open/**"]

[users]
htpasswd = "htpasswd"

[[issuers]]
issuer = %q
audience = %q
ca = %q
groups = "groups"

[certificates]
ca = %q
nodes = "*.nodes.test"

[groups]
readers = ["user:reader", "cert:robot", "node:*"]

[[policies]]
subjects = ["group:readers"]
repositories = ["team/**"]
actions = ["pull"]

[[policies]]
subjects = ["user:writer", "group:pipelines"]
repositories = ["team/**"]
actions = ["pull", "push"]

[[policies]]
subjects = ["user:owner"]
repositories = ["team/**"]
actions = ["pull", "push", "delete"]

[[roles]]
role = "node"
subjects = ["user:host"]

[[roles]]
role = "operator"
subjects = ["user:operator"]
`

// New makes a fixture whose tokens' keys are in b. Its Control looks for changed
// files only when it is told to, and is closed when the test ends.
func New(t testing.TB, b bucket.Bucket) *Fixture {
	t.Helper()
	f := &Fixture{Issuer: NewIssuer(t), CA: NewCA(t)}
	dir := t.TempDir()
	f.File = filepath.Join(dir, "access.toml")
	WriteHtpasswd(t, filepath.Join(dir, "htpasswd"), "stranger", "reader", "writer", "owner", "host", "operator")
	writeFile(t, f.File, fmt.Appendf(nil, text, f.Issuer.URL, Audience, f.Issuer.CAFile, f.CA.File))

	user := func(name string) Caller {
		return Caller{Name: name, Subject: "user:" + name, Authorization: Basic(name, Password(name))}
	}
	f.Anonymous = Caller{Name: "anonymous", Subject: "anonymous"}
	f.Stranger, f.Reader, f.Writer, f.Owner = user("stranger"), user("reader"), user("writer"), user("owner")
	f.UserNode, f.Operator = user("host"), user("operator")
	f.CI = Caller{Name: "ci", Subject: "oidc:" + f.Issuer.URL + "#ci", Authorization: "Bearer " + f.Issuer.Token("ci", "pipelines")}
	f.Robot = Caller{Name: "robot", Subject: "cert:robot", Certificate: f.CA.Client("robot")}
	f.Node = Caller{Name: "node", Subject: "node:node-1", Certificate: f.CA.Client("node-1.nodes.test")}
	f.OtherNode = Caller{Name: "other node", Subject: "node:node-2", Certificate: f.CA.Client("node-2.nodes.test")}
	f.Wrong = Caller{Name: "wrong password", Authorization: Basic("reader", Password("writer"))}
	old := f.Issuer.Claims("ci", "pipelines")
	old["exp"] = time.Now().Add(-time.Hour).Unix()
	f.Expired = Caller{Name: "expired token", Authorization: "Bearer " + f.Issuer.Sign(old)}

	f.Control = Open(t, f.File, access.Options{Bucket: b})
	return f
}

// Open opens a configuration for the length of a test. Unless o says otherwise,
// it logs nothing and looks for changed files only when it is told to.
func Open(t testing.TB, file string, o access.Options) *access.Control {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Every == 0 {
		o.Every = -1
	}
	c, err := access.Open(t.Context(), file, o)
	must(t, err)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

// WriteHtpasswd writes a file of users with the passwords that Password says,
// hashed as cheaply as bcrypt can.
func WriteHtpasswd(t testing.TB, path string, users ...string) {
	t.Helper()
	var b strings.Builder
	for _, u := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(Password(u)), bcrypt.MinCost)
		must(t, err)
		fmt.Fprintf(&b, "%s:%s\n", u, hash)
	}
	writeFile(t, path, []byte(b.String()))
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
