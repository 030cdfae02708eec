package clients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/internal/needs"
)

// thePodman is podman with a storage of its own.
func thePodman(t *testing.T) *client {
	return withStorage(t, "podman", "--cgroup-manager=cgroupfs", "--events-backend=none")
}

// withStorage is a client that keeps images itself, in a folder that goes with
// the test. It needs root.
func withStorage(t *testing.T, program string, flags ...string) *client {
	t.Helper()
	needs.Root(t)
	c := the(t, program)
	// Short: names of sockets and of overlay's options are made of it.
	dir, err := os.MkdirTemp("", "c-")
	if err != nil {
		t.Fatal(err)
	}
	c.home = dir
	// vfs: it works wherever the tests run, also on top of overlay.
	c.before = append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver=vfs"}, flags...)
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.policy = []string{"--signature-policy", policy}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// pushed pushes with c, and returns the digest that it says the image has.
func (c *client) pushed(t *testing.T, args ...string) digest.Digest {
	t.Helper()
	file := filepath.Join(t.TempDir(), "digest")
	c.run(t, append([]string{"push", "--tls-verify=false", "--digestfile", file}, append(c.policy, args...)...)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(strings.TrimSpace(string(b)))
}

func TestPodman(t *testing.T) {
	r, s, c := start(t), makeSamples(t), thePodman(t)
	s.push(t, r)
	pull := append([]string{"pull", "--quiet", "--tls-verify=false"}, c.policy...)
	for _, kind := range kinds {
		there := r.ref("from/" + kind + ":1")
		id := c.run(t, append(pull, there)...)
		if got := c.run(t, "image", "inspect", "--format", "{{.RepoDigests}}", there); !hasAll(got, r.ref("from/"+kind+"@"+string(s.digests[kind]))) {
			t.Errorf("%s: pulled %s, pushed was %s", kind, got, s.digests[kind])
		}
		if out := c.run(t, "run", "--rm", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
			"--log-driver=none", there, "cat", "/greeting"); out != greeting {
			t.Errorf("%s: a container of it says %q", kind, out)
		}
		// Pushed, forgotten and pulled again it is the same image.
		to := r.ref("to/" + kind + ":1")
		want := c.pushed(t, there, to)
		r.same(t, "to/"+kind+":1", want)
		c.run(t, "rmi", "--all", "--force")
		if again := c.run(t, append(pull, to)...); again != id {
			t.Errorf("%s: the image is %s, and was %s", kind, again, id)
		}
		c.run(t, "rmi", "--all", "--force")
	}
	// Other media types, made of what was pulled, each for a registry of its own:
	// podman remembers in which compressions one has a layer, and takes any of them.
	from := r.ref("from/oci:1")
	c.run(t, append(pull, from)...)
	for kind, made := range map[string]struct{ format, compression, layer string }{
		docker: {"v2s2", "gzip", "docker"},
		zstd:   {"oci", "zstd", "zstd"},
	} {
		to := start(t)
		want := c.pushed(t, "--format", made.format, "--compression-format", made.compression, from, to.ref("made/app:1"))
		if m, d := to.whole(t, "made/app:1"); m.MediaType != mediaTypes[kind] || d != want || !hasAll(m.Layers[0].MediaType, made.layer) {
			t.Errorf("%s: pushed was %s; %s has %+v", kind, want, d, m)
		}
	}
}
