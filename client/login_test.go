package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
)

func writeText(t *testing.T, name, text string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Whoever has logged in by any of the ways is known to the server.
func TestLogins(t *testing.T) {
	b := memory.New(memory.Options{})
	f, ca := accesstest.New(t, b), accesstest.NewCA(t)
	dir := t.TempDir()
	pair := func(name string) string { return filepath.Join(dir, name) }
	accesstest.WritePair(t, ca.Server(), pair("tls.pem"), pair("tls.key"))
	accesstest.WritePair(t, f.Robot.Certificate, pair("robot.pem"), pair("robot.key"))
	s := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{Access: f.File, TLSCert: pair("tls.pem"), TLSKey: pair("tls.key")}})
	host := s.HTTP
	t.Setenv("DOCKER_CONFIG", dir)
	writeText(t, pair("config.json"), `{"auths": {"`+host+`": {"auth": "`+strings.TrimPrefix(f.Reader.Authorization, "Basic ")+`"}}}`)

	file := writeText(t, "token", "reader:"+accesstest.Password("reader")+"\n")
	for name, c := range map[string]struct {
		login *client.Login
		want  pb.Reason // of a question about team/app
	}{
		"nobody":              {&client.Login{CA: ca.File}, pb.Reason_REASON_CREDENTIALS_MISSING},
		"docker login":        {&client.Login{CA: ca.File, Docker: []string{"example.org", host}}, pb.Reason_REASON_NAME_UNKNOWN},
		"docker login, other": {&client.Login{CA: ca.File, Docker: []string{"example.org"}}, pb.Reason_REASON_CREDENTIALS_MISSING},
		"name and password":   {&client.Login{CA: ca.File, TokenFile: file}, pb.Reason_REASON_NAME_UNKNOWN},
		"token":               {&client.Login{CA: ca.File, TokenFile: writeText(t, "t", strings.TrimPrefix(f.CI.Authorization, "Bearer "))}, pb.Reason_REASON_NAME_UNKNOWN},
		"certificate":         {&client.Login{CA: ca.File, Cert: pair("robot.pem"), Key: pair("robot.key")}, pb.Reason_REASON_NAME_UNKNOWN},
		"wrong":               {&client.Login{CA: ca.File, TokenFile: writeText(t, "t", "reader:x")}, pb.Reason_REASON_CREDENTIALS_REFUSED},
	} {
		addr, err := c.login.Find(t.Context(), host, nil)
		if err != nil || addr != "https://"+s.GRPC {
			t.Fatalf("%s: found %q, %v", name, addr, err)
		}
		cl, err := client.Dial(addr, client.Options{Login: c.login})
		if err != nil {
			t.Fatal(err)
		}
		_, err = cl.Resolve(t.Context(), "team/app", reference.Locator{Tag: "1"}, "")
		got := client.ReasonOf(err)
		if got == pb.Reason_REASON_MANIFEST_UNKNOWN {
			got = pb.Reason_REASON_NAME_UNKNOWN
		}
		if got != c.want || client.NotLoggedIn(err) != (status.Code(err) == codes.Unauthenticated) {
			t.Errorf("%s: %v %v", name, got, err)
		}
		cl.Close()
	}

	// A renewed file counts at once.
	cl, err := client.Dial(s.GRPC, client.Options{Login: &client.Login{CA: ca.File, TokenFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ask := func() error {
		_, err := cl.Resolve(t.Context(), "team/app", reference.Locator{Tag: "1"}, "")
		return err
	}
	if err := ask(); client.NotLoggedIn(err) {
		t.Error(err)
	}
	writeText(t, file, "reader:wrong")
	if err := ask(); client.ReasonOf(err) != pb.Reason_REASON_CREDENTIALS_REFUSED {
		t.Errorf("the old file still counts: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "--token-file") {
		t.Errorf("without the file: %v", err)
	}
	if _, err := client.Find(t.Context(), host, nil); err == nil || !strings.Contains(err.Error(), "--ca") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
}

// Secrets do not go over a network as plain text.
func TestSecretsGoOverTLS(t *testing.T) {
	l := &client.Login{TokenFile: writeText(t, "t", "a:b")}
	for addr, ok := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "unix:/x": true, "https://192.0.2.1:1": true, "192.0.2.1:1": false, "http://example.org": false,
	} {
		c, err := client.Dial(addr, client.Options{Login: l})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "plain text") {
			t.Errorf("%s: %v", addr, err)
		}
		if err == nil {
			c.Close()
		}
	}
	for _, bad := range []*client.Login{{CA: "/nowhere"}, {Cert: "/nowhere"}, {Cert: "/nowhere", Key: "/nowhere"}, {CA: writeText(t, "x", "y")}} {
		if c, err := client.Dial("localhost:1", client.Options{Login: bad}); err == nil {
			c.Close()
			t.Errorf("%+v is taken", bad)
		}
	}
}
