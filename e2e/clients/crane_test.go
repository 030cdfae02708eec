package clients

import (
	"path/filepath"
	"testing"
)

func TestCrane(t *testing.T) {
	r, s, c := start(t), makeSamples(t), the(t, "crane")
	s.push(t, r)
	for _, kind := range kinds {
		there, want := r.ref("from/"+kind+":1"), string(s.digests[kind])
		c.run(t, "copy", there, r.ref("to/"+kind+":1"))
		r.same(t, "to/"+kind+":1", s.digests[kind])
		if got := c.run(t, "digest", there); got != want {
			t.Errorf("%s: digest says %s, pushed was %s", kind, got, want)
		}
		if kind != zstd { // which it does not unpack
			c.run(t, "validate", "--remote", there)
		}
		// Out of the registry, and back into it.
		dir := filepath.Join(t.TempDir(), "pulled")
		c.run(t, "pull", "--format=oci", there, dir)
		c.run(t, "push", dir, r.ref("back/"+kind+":1"))
		r.same(t, "back/"+kind+":1", s.digests[kind])
	}
	c.run(t, "tag", r.ref("to/oci:1"), "2")
	if got := c.run(t, "ls", r.ref("to/oci")); got != "1\n2" {
		t.Errorf("tags: %q", got)
	}
	if got := c.run(t, "catalog", r.at); !hasAll(got, "from/oci", "to/index", "back/zstd") {
		t.Errorf("catalog: %q", got)
	}
	c.run(t, "delete", r.ref("to/oci@"+string(s.digests[oci])))
	if out, err := c.try("", "digest", r.ref("to/oci:2")); err == nil {
		t.Errorf("the image that was deleted is there: %s", out)
	}
}
