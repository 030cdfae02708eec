package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A registry is a server on a folder, as whoever tries Lamina has one.
type registry struct {
	at            string // HOST:PORT
	authorization string // of the test's own requests
}

func start(t *testing.T) *registry {
	t.Helper()
	return &registry{at: startWith(t, "")}
}

// startWith starts a server with an access file; "": all is open.
func startWith(t *testing.T, access string) (at string) {
	t.Helper()
	s := servertest.Start(t, servertest.Options{Config: server.Config{Bucket: "file://" + t.TempDir(), Access: access}})
	return s.HTTP
}

// ref is how clients call an image of the registry.
func (r *registry) ref(name string) string { return r.at + "/" + name }

// get reads what is at a path below /v2/.
func (r *registry) get(t *testing.T, path, accept string) ([]byte, http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+r.at+"/v2/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", accept)
	if r.authorization != "" {
		q.Header.Set("Authorization", r.authorization)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("GET %s: %s, %v\n%.500s", path, a.Status, err, b)
	}
	return b, a.Header
}

// A manifest is what the tests look at in one, or in an index.
type manifest struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"`
}

// whole reads an image with all that it names, checks every digest and size,
// and returns the manifest and its digest. name is REPOSITORY:TAG or
// REPOSITORY@DIGEST.
func (r *registry) whole(t *testing.T, name string) (manifest, digest.Digest) {
	t.Helper()
	repo, tag, ok := strings.Cut(name, "@")
	if !ok {
		i := strings.LastIndexByte(name, ':')
		repo, tag = name[:i], name[i+1:]
	}
	b, h := r.get(t, repo+"/manifests/"+tag, "*/*")
	d := digest.FromBytes(b)
	if got := h.Get("Docker-Content-Digest"); got != string(d) {
		t.Errorf("%s: Docker-Content-Digest is %s, of bytes with %s", name, got, d)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	m.MediaType = h.Get("Content-Type")
	blobs := m.Layers
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, l := range blobs {
		if b, _ := r.get(t, repo+"/blobs/"+string(l.Digest), "*/*"); digest.FromBytes(b) != l.Digest || int64(len(b)) != l.Size {
			t.Errorf("%s: blob %s has %d bytes with %s", name, l.Digest, len(b), digest.FromBytes(b))
		}
	}
	for _, c := range m.Manifests {
		if _, got := r.whole(t, repo+"@"+string(c.Digest)); got != c.Digest {
			t.Errorf("%s: %s for %s", name, got, c.Digest)
		}
	}
	return m, d
}

// same says that the image is there, whole, with this digest.
func (r *registry) same(t *testing.T, name string, want digest.Digest) {
	t.Helper()
	if _, got := r.whole(t, name); got != want {
		t.Errorf("%s is %s, pushed was %s", name, got, want)
	}
}

// A client is a program with a home of its own, where it finds no credentials
// and no settings but the test's.
type client struct {
	program string
	home    string
	env     []string
	before  []string // flags that come before each command
	policy  []string // flags of commands that pull or push
}

// the is the client of that name; the test is skipped where it is not (in CI:
// fails).
func the(t *testing.T, program string) *client {
	t.Helper()
	needs.Commands(t, program)
	home := t.TempDir()
	if err := os.WriteFile(home+"/auth.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &client{program: program, home: home, env: append(os.Environ(),
		"HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_CONFIG_HOME="+home, "TMPDIR="+home,
		"DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+home+"/auth.json", "REGCTL_CONFIG="+home+"/regctl.json")}
}

func (c *client) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.program, slices.Concat(c.before, args)...)
	cmd.Env, cmd.Dir = c.env, c.home
	return cmd
}

// try runs the client and returns what it printed.
func (c *client) try(stdin string, args ...string) (stdout string, err error) {
	cmd := c.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", c.program, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

// run is try that must succeed.
func (c *client) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
