package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Each kind has a registry of its own: skopeo remembers in which compressions one
// has a layer, and takes any of them.
func TestSkopeo(t *testing.T) {
	s, c := makeSamples(t), the(t, "skopeo")
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			r := start(t)
			s.push(t, r)
			from, want := "from/"+kind+":1", s.digests[kind]
			if kind != docker { // which it does not take out of an OCI layout
				c.run(t, "--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "oci:"+s.dir+":"+kind, "docker://"+r.ref("pushed/"+kind+":1"))
				made, _ := r.whole(t, from)
				from = "pushed/" + kind + ":1"
				m, d := r.whole(t, from)
				switch {
				case kind != index && d != want:
					t.Errorf("%s is %s, pushed was %s", from, d, want)
				case kind == index && (len(m.Manifests) != 2 || m.Manifests[0].Digest != made.Manifests[0].Digest || m.Manifests[1].Digest != made.Manifests[1].Digest):
					t.Errorf("an index of %+v", m.Manifests)
				}
				want = d // older ones write an index anew; what it names stays as it is
			}
			there := "docker://" + r.ref(from)
			// Into another repository: layers are mounted, not sent.
			c.run(t, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", there, "docker://"+r.ref("to/app:1"))
			r.same(t, "to/app:1", want)
			back := t.TempDir()
			c.run(t, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", there, "dir:"+back)
			b, err := os.ReadFile(filepath.Join(back, "manifest.json"))
			if err != nil || digest.FromBytes(b) != want {
				t.Errorf("pulled %s, pushed was %s: %v", digest.FromBytes(b), want, err)
			}
			var seen struct{ Digest digest.Digest }
			out := c.run(t, "inspect", "--no-tags", "--tls-verify=false", there)
			if err := json.Unmarshal([]byte(out), &seen); err != nil || seen.Digest != want {
				t.Errorf("inspect says %s: %v", seen.Digest, err)
			}
		})
	}
}

func TestSkopeoConvertsListsAndDeletes(t *testing.T) {
	r, s, c := start(t), makeSamples(t), the(t, "skopeo")
	s.push(t, r)
	// Docker's media types, made of the OCI ones on the way.
	c.run(t, "--insecure-policy", "copy", "--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+r.ref("from/oci:1"), "docker://"+r.ref("to/converted:1"))
	if m, _ := r.whole(t, "to/converted:1"); m.MediaType != dockerManifest {
		t.Errorf("a manifest of %s", m.MediaType)
	}
	if out := c.run(t, "list-tags", "--tls-verify=false", "docker://"+r.ref("to/converted")); !hasAll(out, `"1"`) {
		t.Errorf("tags: %s", out)
	}
	c.run(t, "delete", "--tls-verify=false", "docker://"+r.ref("to/converted:1"))
	if out, err := c.try("", "inspect", "--tls-verify=false", "docker://"+r.ref("to/converted:1")); err == nil {
		t.Errorf("the image that was deleted is there: %s", out)
	}
}
