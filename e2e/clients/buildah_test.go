package clients

import (
	"os"
	"path/filepath"
	"testing"
)

// containerfile makes two layers on nothing; the second is what a command wrote.
const containerfile = `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "echo '` + greeting + `' >/greeting"]
CMD ["/bin/busybox", "cat", "/greeting"]
`

func TestBuildah(t *testing.T) {
	r := start(t)
	c := withStorage(t, "buildah")
	c.env = append(c.env, "BUILDAH_ISOLATION=chroot")
	source := t.TempDir()
	copyBusybox(t, filepath.Join(source, "busybox"))
	if err := os.WriteFile(filepath.Join(source, "Containerfile"), []byte(containerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(t, append(append([]string{"bud", "--quiet", "--layers", "--format", "oci"}, c.policy...), "-t", "built", source)...)
	// zstd to a registry of its own: buildah remembers that a registry has a layer
	// in gzip, and takes that.
	other := start(t)
	for name, kind := range map[string]struct {
		to                             *registry
		format, compression, mediaType string
		layer                          string // in the layers' media type
	}{
		"oci":    {r, "oci", "gzip", mediaTypes[oci], "oci.image.layer.v1.tar+gzip"},
		"docker": {r, "v2s2", "gzip", dockerManifest, "docker"},
		"zstd":   {other, "oci", "zstd", mediaTypes[zstd], "zstd"},
	} {
		name := "built/" + name + ":1"
		want := c.pushed(t, "--format", kind.format, "--compression-format", kind.compression, "built", "docker://"+kind.to.ref(name))
		m, d := kind.to.whole(t, name)
		if d != want || m.MediaType != kind.mediaType || len(m.Layers) != 2 || !hasAll(m.Layers[0].MediaType, kind.layer) {
			t.Errorf("%s: pushed was %s; %s has %+v", name, want, d, m)
		}
	}
	// An index of it for two platforms.
	c.run(t, "manifest", "create", "many")
	c.run(t, "manifest", "add", "many", "built")
	c.run(t, "manifest", "add", "--tls-verify=false", "--arch", "s390x", "many", "docker://"+r.ref("built/oci:1"))
	c.run(t, append(append([]string{"manifest", "push", "--all", "--tls-verify=false"}, c.policy...), "many", "docker://"+r.ref("built/many:1"))...)
	if m, _ := r.whole(t, "built/many:1"); len(m.Manifests) != 2 || m.Manifests[0].Platform.Architecture == m.Manifests[1].Platform.Architecture {
		t.Errorf("%+v", m)
	}
	// Pulled into an empty storage, it runs.
	empty := withStorage(t, "buildah")
	empty.env = append(empty.env, "BUILDAH_ISOLATION=chroot")
	for _, name := range []string{other.ref("built/zstd:1"), r.ref("built/docker:1")} {
		container := empty.run(t, append(append([]string{"from", "--quiet", "--tls-verify=false"}, empty.policy...), name)...)
		if out := empty.run(t, "run", container, "/bin/busybox", "cat", "/greeting"); out != greeting {
			t.Errorf("%s: a container of it says %q", name, out)
		}
	}
}
