package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestSkopeo(t *testing.T) {
	r, s, c := start(t), makeSamples(t), the(t, "skopeo")
	s.push(t, r)
	from := map[string]string{docker: "from/docker:1"} // it takes no such image out of an OCI layout
	for _, kind := range []string{oci, zstd, index} {
		from[kind] = "pushed/" + kind + ":1"
		c.run(t, "--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "oci:"+s.dir+":"+kind, "docker://"+r.ref(from[kind]))
		if kind != index {
			r.same(t, from[kind], s.digests[kind])
			continue
		}
		// Older ones write an index anew. What it names stays as it is.
		made, _ := r.whole(t, "from/index:1")
		m, d := r.whole(t, from[kind])
		if len(m.Manifests) != 2 || m.Manifests[0].Digest != made.Manifests[0].Digest || m.Manifests[1].Digest != made.Manifests[1].Digest {
			t.Errorf("an index of %+v", m.Manifests)
		}
		s.digests[kind] = d
	}
	for _, kind := range kinds {
		there := "docker://" + r.ref(from[kind])
		// Into another repository: layers are mounted, not sent.
		c.run(t, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", there, "docker://"+r.ref("to/"+kind+":1"))
		r.same(t, "to/"+kind+":1", s.digests[kind])
		back := t.TempDir()
		c.run(t, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", there, "dir:"+back)
		b, err := os.ReadFile(filepath.Join(back, "manifest.json"))
		if err != nil || digest.FromBytes(b) != s.digests[kind] {
			t.Errorf("%s: pulled %s, pushed was %s: %v", kind, digest.FromBytes(b), s.digests[kind], err)
		}
		var seen struct{ Digest digest.Digest }
		out := c.run(t, "inspect", "--no-tags", "--tls-verify=false", there)
		if err := json.Unmarshal([]byte(out), &seen); err != nil || seen.Digest != s.digests[kind] {
			t.Errorf("%s: inspect says %s: %v", kind, seen.Digest, err)
		}
	}
	// Docker's media types, made of the OCI ones on the way.
	c.run(t, "--insecure-policy", "copy", "-q", "--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+r.ref("from/oci:1"), "docker://"+r.ref("to/converted:1"))
	if m, _ := r.whole(t, "to/converted:1"); m.MediaType != dockerManifest {
		t.Errorf("a manifest of %s", m.MediaType)
	}
	if out := c.run(t, "list-tags", "--tls-verify=false", "docker://"+r.ref("to/oci")); !hasAll(out, `"1"`) {
		t.Errorf("tags: %s", out)
	}
	c.run(t, "delete", "--tls-verify=false", "docker://"+r.ref("to/oci:1"))
	if out, err := c.try("", "inspect", "--tls-verify=false", "docker://"+r.ref("to/oci:1")); err == nil {
		t.Errorf("the image that was deleted is there: %s", out)
	}
}
