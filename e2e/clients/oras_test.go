package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// discovered is what oras says refers to something, and to that in turn.
type discovered struct {
	Digest       digest.Digest
	ArtifactType string
	Referrers    []discovered
}

func TestOras(t *testing.T) {
	r, s, c := start(t), makeSamples(t), the(t, "oras")
	s.push(t, r)
	for _, kind := range kinds {
		c.run(t, "cp", "--from-plain-http", "--to-plain-http", r.ref("from/"+kind+":1"), r.ref("to/"+kind+":1"))
		r.same(t, "to/"+kind+":1", s.digests[kind])
		dir := filepath.Join(t.TempDir(), "pulled")
		c.run(t, "cp", "--from-plain-http", "--to-oci-layout", r.ref("from/"+kind+":1"), dir+":1")
		c.run(t, "cp", "--from-oci-layout", "--to-plain-http", dir+":1", r.ref("back/"+kind+":1"))
		r.same(t, "back/"+kind+":1", s.digests[kind])
	}
	if got := c.run(t, "resolve", "--plain-http", r.ref("from/index:1")); got != string(s.digests[index]) {
		t.Errorf("resolve says %s, pushed was %s", got, s.digests[index])
	}
	if got := c.run(t, "repo", "tags", "--plain-http", r.ref("to/oci")); got != "1" {
		t.Errorf("tags: %q", got)
	}
	if got := c.run(t, "repo", "ls", "--plain-http", r.at); !hasAll(got, "from/oci", "to/index") {
		t.Errorf("repositories: %q", got)
	}
	c.run(t, "manifest", "delete", "--plain-http", "--force", r.ref("to/oci:1"))
	if out, err := c.try("", "resolve", "--plain-http", r.ref("to/oci:1")); err == nil {
		t.Errorf("the image that was deleted is there: %s", out)
	}
}

func TestOrasArtifactsAndReferrers(t *testing.T) {
	r, s, c := start(t), makeSamples(t), the(t, "oras")
	s.push(t, r)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("notes.txt", "some notes")
	write("sbom.json", `{"files":[]}`)
	write("signature", "signed")

	// An artifact by itself.
	c.run(t, "push", "--plain-http", "--artifact-type", "application/vnd.example.notes", r.ref("from/notes:1"), "notes.txt:text/plain")
	out := t.TempDir()
	c.run(t, "pull", "--plain-http", "-o", out, r.ref("from/notes:1"))
	if b, err := os.ReadFile(filepath.Join(out, "notes.txt")); err != nil || string(b) != "some notes" {
		t.Errorf("pulled %q, %v", b, err)
	}

	// A chain: an SBOM about the image, and a signature about the SBOM.
	image := r.ref("from/index:1")
	c.run(t, "attach", "--plain-http", "--artifact-type", "application/spdx+json", image, "sbom.json:application/json")
	found := c.discover(t, image)
	if found.Digest != s.digests[index] || len(found.Referrers) != 1 || found.Referrers[0].ArtifactType != "application/spdx+json" {
		t.Fatalf("found %+v", found)
	}
	sbom := found.Referrers[0].Digest
	c.run(t, "attach", "--plain-http", "--artifact-type", "application/vnd.example.signature", r.ref("from/index@"+string(sbom)), "signature:application/octet-stream")
	if m, _ := r.whole(t, "from/index@"+string(sbom)); m.Subject == nil || m.Subject.Digest != s.digests[index] {
		t.Errorf("%+v", m)
	}
	if only := c.discover(t, image, "--artifact-type", "application/vnd.example.other"); len(only.Referrers) != 0 {
		t.Errorf("found %+v", only)
	}

	// The image goes to another repository with all that refers to it.
	c.run(t, "cp", "-r", "--from-plain-http", "--to-plain-http", image, r.ref("to/index:1"))
	r.same(t, "to/index:1", s.digests[index])
	copied := c.discover(t, r.ref("to/index:1"))
	if len(copied.Referrers) != 1 || copied.Referrers[0].Digest != sbom ||
		len(copied.Referrers[0].Referrers) != 1 || copied.Referrers[0].Referrers[0].ArtifactType != "application/vnd.example.signature" {
		t.Errorf("found %+v", copied)
	}
	c.run(t, "manifest", "delete", "--plain-http", "--force", r.ref("from/index@"+string(sbom)))
	if left := c.discover(t, image); len(left.Referrers) != 0 {
		t.Errorf("found %+v", left)
	}
}

func (c *client) discover(t *testing.T, ref string, flags ...string) (d discovered) {
	t.Helper()
	out := c.run(t, append([]string{"discover", "--plain-http", "--format", "json", ref}, flags...)...)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return d
}
