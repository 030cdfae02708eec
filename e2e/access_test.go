package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/internal/needs"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// A closed is a server with TLS and access rules, and what its callers need.
type closed struct {
	*servertest.Server
	f   *accesstest.Fixture
	ca  *accesstest.CA
	dir string
}

func startClosed(t *testing.T) *closed {
	t.Helper()
	b := memory.New(memory.Options{})
	c := &closed{f: accesstest.New(t, b), ca: accesstest.NewCA(t), dir: t.TempDir()}
	f, err := os.OpenFile(c.f.File, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("\n[[policies]]\nsubjects = [\"node:*\"]\nrepositories = [\"team/saved\"]\nactions = [\"push\"]\n")
	must(t, errors.Join(err, f.Close()))
	accesstest.WritePair(t, c.ca.Server(), c.file("tls.pem"), c.file("tls.key"))
	accesstest.WritePair(t, c.f.Node.Certificate, c.file("node.pem"), c.file("node.key"))
	c.Server = servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{
		Access: c.f.File, TLSCert: c.file("tls.pem"), TLSKey: c.file("tls.key"),
	}})
	return c
}

func (c *closed) file(name string) string { return filepath.Join(c.dir, name) }

// push stores an image as a user does that has a password.
func (c *closed) push(t *testing.T, user string, img containerdtest.Image) (string, error) {
	t.Helper()
	ref := c.HTTP + "/" + img.Name
	r, err := name.ParseReference(ref)
	must(t, err)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.ca.Pool()}}
	defer tr.CloseIdleConnections()
	return ref, remote.Write(r, containerdtest.Build(t, img), remote.WithTransport(tr),
		remote.WithAuth(&authn.Basic{Username: user, Password: accesstest.Password(user)}))
}

// A user with a password pushes; a node with a certificate pulls, runs, reports
// and commits, all over TLS; an operator sees what runs.
func TestTheWholePathBehindAccessRules(t *testing.T) {
	s := startClosed(t)
	if _, err := s.push(t, "reader", containerdtest.Image{Name: "team/app:1"}); err == nil {
		t.Fatal("a reader pushes")
	}
	ref, err := s.push(t, "writer", containerdtest.Image{Name: "team/app:1", Layers: []map[string]string{{"app/who": "image"}}})
	must(t, err)

	login := &client.Login{CA: s.ca.File, Cert: s.file("node.pem"), Key: s.file("node.key")}
	h := startHostAs(t, "https://"+s.GRPC, "node-1", login)
	pull := func(tls *tls.Config, ref string) (containerd.Image, error) {
		tr := &http.Transport{TLSClientConfig: tls}
		t.Cleanup(tr.CloseIdleConnections)
		hosts := docker.ConfigureDefaultRegistries(docker.WithClient(&http.Client{Transport: tr}),
			docker.WithPlainHTTP(func(string) (bool, error) { return false, nil }))
		return h.Client.Pull(h.Context(), ref, containerd.WithPullUnpack, containerd.WithPullSnapshotter("lamina"),
			containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})))
	}
	if _, err := pull(&tls.Config{RootCAs: s.ca.Pool()}, ref); err == nil {
		t.Error("somebody pulls who does not say who it is")
	}
	node := &tls.Config{RootCAs: s.ca.Pool(), Certificates: []tls.Certificate{*s.f.Node.Certificate}}
	img, err := pull(node, ref)
	must(t, err)
	// The same by the file that docs/access-setup.md shows.
	certs := filepath.Join(t.TempDir(), s.HTTP)
	must(t, os.Mkdir(certs, 0o700))
	must(t, os.WriteFile(filepath.Join(certs, "hosts.toml"), fmt.Appendf(nil,
		"[host.\"https://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n  client = [[%q, %q]]\n",
		s.HTTP, s.ca.File, s.file("node.pem"), s.file("node.key")), 0o600))
	h.Ctr(t, "image", "pull", "--snapshotter", "lamina", "--hosts-dir", filepath.Dir(certs), ref)

	c := h.Run(t, "web-1", img)
	c.Exec(t, "sh", "-c", "echo container >/app/who")

	operator, err := client.Dial("https://"+s.GRPC, client.Options{Login: &client.Login{CA: s.ca.File, TokenFile: secret(t, "operator")}})
	must(t, err)
	defer operator.Close()
	eventually(t, "the container in the operator's list", func() bool {
		for n, err := range operator.Nodes(t.Context(), "") {
			must(t, err)
			if n.Id == "node-1" && len(n.Containers) == 1 && n.Containers[0].Id == "web-1" {
				return true
			}
		}
		return false
	})
	reader, err := client.Dial("https://"+s.GRPC, client.Options{Login: &client.Login{CA: s.ca.File, TokenFile: secret(t, "reader")}})
	must(t, err)
	defer reader.Close()
	for _, err := range reader.Nodes(t.Context(), "") {
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("a reader sees what runs: %v", err)
		}
	}

	// The node may push to team/saved, and to no other.
	code, reason, says := h.refused(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: s.HTTP + "/team/app:2"})
	if code != codes.PermissionDenied || reason != pb.Reason_REASON_DENIED || !strings.Contains(says, "node:node-1 may not push to team/app") {
		t.Errorf("%v %v %s", code, reason, says)
	}
	saved := s.HTTP + "/team/saved:1"
	res := h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: saved})
	if res.Snapshot.NodeId != "node-1" || res.Snapshot.Repository != "team/saved" {
		t.Errorf("registered as %v", res.Snapshot)
	}
	again, err := pull(node, saved)
	must(t, err)
	if got := h.Ctr(t, "run", "--rm", "--snapshotter", "lamina", again.Name(), "again", "cat", "/app/who"); got != "container\n" {
		t.Errorf("what was carried over: %q", got)
	}
}

// secret is a file with a user's name and password.
func secret(t *testing.T, user string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), user)
	must(t, os.WriteFile(f, []byte(user+":"+accesstest.Password(user)+"\n"), 0o600))
	return f
}

// The clients that people have log in, by their own commands.
func TestClientsLogIn(t *testing.T) {
	needs.Commands(t, "crane", "skopeo")
	s := startClosed(t)
	ref, err := s.push(t, "writer", containerdtest.Image{Name: "team/app:1"})
	must(t, err)
	certs := t.TempDir()
	raw, err := os.ReadFile(s.ca.File)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(certs, "ca.crt"), raw, 0o600))
	config := t.TempDir()
	run := func(stdin, name string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config, "REGISTRY_AUTH_FILE="+filepath.Join(config, "config.json"), "SSL_CERT_FILE="+s.ca.File)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
		}
		return string(out), err
	}
	ok := func(stdin, name string, args ...string) {
		t.Helper()
		if _, err := run(stdin, name, args...); err != nil {
			t.Error(err)
		}
	}
	no := func(says, stdin, name string, args ...string) {
		t.Helper()
		if out, err := run(stdin, name, args...); err == nil || !strings.Contains(out, says) {
			t.Errorf("%s %q: %v %s", name, args, err, out)
		}
	}
	no("UNAUTHORIZED", "", "crane", "digest", ref)
	no("log in", "", "skopeo", "inspect", "--cert-dir", certs, "docker://"+ref)
	no("", "wrong", "skopeo", "login", "--cert-dir", certs, "-u", "reader", "--password-stdin", s.HTTP)
	ok(accesstest.Password("reader"), "skopeo", "login", "--cert-dir", certs, "-u", "reader", "--password-stdin", s.HTTP)
	ok("", "skopeo", "inspect", "--cert-dir", certs, "docker://"+ref)
	ok("", "crane", "digest", ref) // with the same file
	ok("", "crane", "catalog", s.HTTP)
	no("", "", "crane", "tag", ref, "2")
	ok(accesstest.Password("writer"), "crane", "auth", "login", "-u", "writer", "--password-stdin", s.HTTP)
	ok("", "crane", "tag", ref, "2")
	ok("", "crane", "copy", ref, s.HTTP+"/team/copy:1") // a mount, with scopes for both
	ok("", "skopeo", "copy", "--src-cert-dir", certs, "--dest-cert-dir", certs, "docker://"+ref, "docker://"+s.HTTP+"/team/copy:2")
	no("", "", "crane", "copy", ref, s.HTTP+"/other/copy:1")
	no("", "", "crane", "delete", s.HTTP+"/team/copy:1")
	ok(accesstest.Password("owner"), "crane", "auth", "login", "-u", "owner", "--password-stdin", s.HTTP)
	ok("", "crane", "delete", s.HTTP+"/team/copy:1")
	_, token, _ := strings.Cut(s.f.CI.Authorization, " ")
	ok(token, "crane", "auth", "login", "-u", "_token", "--password-stdin", s.HTTP)
	ok("", "crane", "tag", ref, "3")
	no("", "", "crane", "delete", ref)
}
