package clients

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/laminastore/lamina/server/access/accesstest"
)

const accessFile = `
[users]
htpasswd = "users"

[[policies]]
subjects = ["user:alice"]
repositories = ["team/**"]
actions = ["pull", "push", "delete"]
`

// closed starts a registry that knows alice alone, who may use team/**.
func closed(t *testing.T) *registry {
	t.Helper()
	dir := t.TempDir()
	accesstest.WriteHtpasswd(t, filepath.Join(dir, "users"), "alice")
	file := filepath.Join(dir, "access.toml")
	if err := os.WriteFile(file, []byte(accessFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return &registry{at: startWith(t, file), authorization: accesstest.Basic("alice", accesstest.Password("alice"))}
}

// A member is a client that logs in.
type member struct {
	*client
	login []string // reads the password from its input
	// push has the flags that come before a source and a target.
	push   []string
	source string
	target string // what comes before the target's name
}

// members are the clients that keep credentials in a file.
func members(t *testing.T, r *registry, s *samples) []member {
	t.Helper()
	user := []string{"--username", "alice", "--password-stdin"}
	login := func(before ...string) []string { return append(append(before, user...), r.at) }
	skopeo := []string{"--insecure-policy", "copy", "--dest-tls-verify=false"}
	m := []member{
		{the(t, "skopeo"), login("login", "--tls-verify=false"), skopeo, "oci:" + s.dir + ":oci", "docker://"},
		{theRegctl(t, r.at), []string{"registry", "login", "--user", "alice", "--pass-stdin", r.at}, []string{"image", "copy"}, "ocidir://" + s.dir + ":oci", ""},
		{the(t, "crane"), append(append([]string{"auth", "login"}, user...), r.at), []string{"push"}, archive(t, s.what[oci].(v1.Image), "app:1"), ""},
		{the(t, "oras"), login("login", "--plain-http"), []string{"cp", "--from-oci-layout", "--to-plain-http"}, s.dir + ":oci", ""},
	}
	for _, program := range []string{"podman", "buildah"} {
		c := withStorage(t, program)
		c.run(t, append(append([]string{"pull", "--quiet"}, c.policy...), "docker-archive:"+archive(t, s.what[oci].(v1.Image), "app:1"))...)
		id := c.run(t, "images", "--quiet", "--no-trunc")
		m = append(m, member{c, login("login", "--tls-verify=false"), append([]string{"push", "--tls-verify=false"}, c.policy...), id, "docker://"})
	}
	return m
}

func TestClientsLogIn(t *testing.T) {
	s, r := makeSamples(t), closed(t)
	for _, m := range members(t, r, s) {
		t.Run(m.program, func(t *testing.T) {
			push := func(name string) error {
				_, err := m.try("", append(m.push, m.source, m.target+r.ref(name))...)
				return err
			}
			mine := "team/" + m.program + ":1"
			if err := push(mine); err == nil {
				t.Error("it pushes without credentials")
			}
			if _, err := m.try("wrong\n", m.login...); err == nil && m.program != "crane" { // which asks nobody
				t.Error("it logs in with a wrong password")
			}
			if _, err := m.try(accesstest.Password("alice")+"\n", m.login...); err != nil {
				t.Fatal(err)
			}
			if err := push(mine); err != nil {
				t.Fatal(err)
			}
			r.whole(t, mine)
			if err := push("others/" + m.program + ":1"); err == nil {
				t.Error("it pushes where alice may not")
			}
		})
	}
}

func TestContainerdAndDockerLogIn(t *testing.T) {
	s, r := makeSamples(t), closed(t)
	password := accesstest.Password("alice")
	skopeo := the(t, "skopeo")
	if _, err := skopeo.try(password, "login", "--tls-verify=false", "--username", "alice", "--password-stdin", r.at); err != nil {
		t.Fatal(err)
	}
	skopeo.run(t, "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+s.dir+":oci", "docker://"+r.ref("team/app:1"))

	t.Run("ctr", func(t *testing.T) {
		h := startContainerd(t)
		pull := []string{"images", "pull", "--local=false", "--plain-http", "--snapshotter=overlayfs"}
		if out, err := ctr(h, append(pull, r.ref("team/app:1"))...).CombinedOutput(); err == nil {
			t.Errorf("it pulls without credentials: %s", out)
		}
		h.Ctr(t, append(pull, "--user", "alice:"+password, r.ref("team/app:1"))...)
		h.Ctr(t, "images", "push", "--local=false", "--plain-http", "--user", "alice:"+password, r.ref("team/ctr:1"), r.ref("team/app:1"))
		r.same(t, "team/ctr:1", s.digests[oci])
	})
	t.Run("docker", func(t *testing.T) {
		c := startDocker(t)
		if out, err := c.try("", "pull", r.ref("team/app:1")); err == nil {
			t.Errorf("it pulls without credentials: %s", out)
		}
		if _, err := c.try("wrong", "login", "--username", "alice", "--password-stdin", r.at); err == nil {
			t.Error("it logs in with a wrong password")
		}
		if _, err := c.try(password, "login", "--username", "alice", "--password-stdin", r.at); err != nil {
			t.Fatal(err)
		}
		c.run(t, "pull", r.ref("team/app:1"))
		c.run(t, "tag", r.ref("team/app:1"), r.ref("team/docker:1"))
		c.run(t, "push", r.ref("team/docker:1"))
		r.whole(t, "team/docker:1")
		c.run(t, "tag", r.ref("team/app:1"), r.ref("others/docker:1"))
		if out, err := c.try("", "push", r.ref("others/docker:1")); err == nil {
			t.Errorf("it pushes where alice may not: %s", out)
		}
	})
}
