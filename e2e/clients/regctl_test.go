package clients

import (
	"os"
	"path/filepath"
	"testing"
)

// theRegctl is regctl, told that the registry speaks plain HTTP.
func theRegctl(t *testing.T, at string) *client {
	t.Helper()
	c := the(t, "regctl")
	c.run(t, "registry", "set", "--tls=disabled", at)
	return c
}

func TestRegctl(t *testing.T) {
	r, s := start(t), makeSamples(t)
	c := theRegctl(t, r.at)
	s.push(t, r)
	for _, kind := range kinds {
		there, want := r.ref("from/"+kind+":1"), string(s.digests[kind])
		c.run(t, "image", "copy", there, r.ref("to/"+kind+":1"))
		r.same(t, "to/"+kind+":1", s.digests[kind])
		if got := c.run(t, "image", "digest", there); got != want {
			t.Errorf("%s: digest says %s, pushed was %s", kind, got, want)
		}
		dir := "ocidir://" + filepath.Join(t.TempDir(), "pulled") + ":1"
		c.run(t, "image", "copy", there, dir)
		c.run(t, "image", "copy", dir, r.ref("back/"+kind+":1"))
		r.same(t, "back/"+kind+":1", s.digests[kind])
	}
	// An index made at the registry, and layers made zstd on the way.
	c.run(t, "index", "create", r.ref("to/made:1"), "--ref", r.ref("from/oci:1"), "--media-type", dockerList)
	if m, _ := r.whole(t, "to/made:1"); m.MediaType != dockerList || len(m.Manifests) != 1 || m.Manifests[0].Digest != s.digests[oci] {
		t.Errorf("%+v", m)
	}
	c.run(t, "image", "mod", r.ref("from/oci:1"), "--create", r.ref("to/mod:1"), "--layer-compress", "zstd")
	if m, _ := r.whole(t, "to/mod:1"); len(m.Layers) != 2 || !hasAll(m.Layers[0].MediaType, "zstd") {
		t.Errorf("%+v", m)
	}
	if got := c.run(t, "tag", "ls", r.ref("to/mod")); got != "1" {
		t.Errorf("tags: %q", got)
	}
	// An artifact about an image, found by the image.
	file := filepath.Join(t.TempDir(), "sbom.json")
	if err := os.WriteFile(file, []byte(`{"files":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(t, "artifact", "put", "--artifact-type", "application/spdx+json", "--subject", r.ref("from/oci:1"), "-f", file)
	if out := c.run(t, "artifact", "list", r.ref("from/oci:1"), "--format", "{{range .Descriptors}}{{.ArtifactType}} {{.Digest}}{{end}}"); !hasAll(out, "application/spdx+json sha256:") {
		t.Errorf("artifacts: %q", out)
	}
	c.run(t, "image", "copy", "--referrers", r.ref("from/oci:1"), r.ref("with/artifacts:1"))
	if out := c.run(t, "artifact", "get", "--subject", r.ref("with/artifacts:1"), "--filter-artifact-type", "application/spdx+json"); out != `{"files":[]}` {
		t.Errorf("the artifact has %q", out)
	}
	// A tag alone, with what it names staying; then the image.
	c.run(t, "tag", "rm", r.ref("to/mod:1"))
	if out, err := c.try("", "image", "digest", r.ref("to/mod:1")); err == nil {
		t.Errorf("the tag that was removed is there: %s", out)
	}
	c.run(t, "manifest", "rm", r.ref("to/oci@"+string(s.digests[oci])))
	if out, err := c.try("", "image", "digest", r.ref("to/oci:1")); err == nil {
		t.Errorf("the image that was deleted is there: %s", out)
	}
}
