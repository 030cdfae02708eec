package registry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/needs"
)

func TestCrane(t *testing.T) {
	s := serve(t, nil)
	with := crane.WithContext(t.Context())
	image, err := random.Image(300_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pushImage(t, image, s.ref("demo/app:1"))
	if err := validate.Image(pullImage(t, s.ref("demo/app:1"))); err != nil {
		t.Error(err)
	}
	if err := crane.Copy(s.ref("demo/app:1"), s.ref("demo/copy:2"), with); err != nil { // mounts
		t.Fatal(err)
	}
	if err := crane.Tag(s.ref("demo/copy:2"), "3", with); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"demo/app:1", "demo/copy:2", "demo/copy:3"} {
		if d, err := crane.Digest(s.ref(ref), with); err != nil || d != want.String() {
			t.Errorf("%s: %s, %v", ref, d, err)
		}
	}
	if tags, err := crane.ListTags(s.ref("demo/copy"), with); err != nil || strings.Join(tags, " ") != "2 3" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	if repos, err := crane.Catalog(strings.TrimSuffix(s.ref(""), "/"), with); err != nil || strings.Join(repos, " ") != "demo/app demo/copy" {
		t.Errorf("catalog: %v, %v", repos, err)
	}
	if err := crane.Delete(s.ref("demo/app@"+want.String()), with); err != nil {
		t.Fatal(err)
	}
	if _, err := crane.Digest(s.ref("demo/app:1"), with); err == nil {
		t.Error("the image that was deleted is there")
	}
	if err := validate.Image(pullImage(t, s.ref("demo/copy:3"))); err != nil {
		t.Errorf("the copy: %v", err)
	}
}

// ociImage has two layers of random bytes, compressed with c.
func ociImage(t *testing.T, arch string, c compression.Compression) v1.Image {
	t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	mediaType := map[compression.Compression]types.MediaType{compression.GZip: types.OCILayer, compression.ZStd: types.OCILayerZStd}[c]
	for range 2 {
		plain, err := random.Layer(200_000, types.OCIUncompressedLayer)
		if err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(plain.Uncompressed, tarball.WithCompression(c), tarball.WithMediaType(mediaType))
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// layoutOf writes an OCI layout with the images "gzip" and "zstd", and the
// index "many".
func layoutOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := func(s string) layout.Option {
		return layout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: s})
	}
	var many []mutate.IndexAddendum
	for _, arch := range []string{"amd64", "arm64"} {
		many = append(many, mutate.IndexAddendum{
			Add:        ociImage(t, arch, compression.GZip),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	if err := l.AppendImage(ociImage(t, "amd64", compression.GZip), named("gzip")); err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(ociImage(t, "amd64", compression.ZStd), named("zstd")); err != nil {
		t.Fatal(err)
	}
	if err := l.AppendIndex(mutate.AppendManifests(empty.Index, many...), named("many")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "skopeo", append([]string{"--insecure-policy", "--tmpdir", t.TempDir()}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestSkopeo(t *testing.T) {
	needs.Commands(t, "skopeo")
	s := serve(t, nil)
	dir := layoutOf(t)
	for name, c := range map[string]struct {
		source    string
		flags     []string
		mediaType string
	}{
		"oci":    {"gzip", nil, ociManifest},
		"docker": {"gzip", []string{"--format", "v2s2"}, "application/vnd.docker.distribution.manifest.v2+json"},
		"zstd":   {"zstd", nil, ociManifest},
		"index":  {"many", []string{"--all"}, ociIndex},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			there := "docker://" + s.ref("demo/"+name+":1")
			copied := "docker://" + s.ref("copy/"+name+":1")
			plain := []string{"--src-tls-verify=false", "--dest-tls-verify=false"}
			skopeo(t, append(append(append([]string{"copy"}, c.flags...), plain...), "oci:"+dir+":"+c.source, there)...)
			// --all so that the copy is the very same, also when it is an index.
			skopeo(t, append(append([]string{"copy", "--all"}, plain...), there, copied)...)
			back := t.TempDir()
			skopeo(t, append(append([]string{"copy", "--all"}, plain...), copied, "dir:"+back)...)

			a := s.do("GET", "/v2/demo/"+name+"/manifests/1", nil).is(200, "Content-Type: "+c.mediaType)
			got, err := os.ReadFile(filepath.Join(back, "manifest.json"))
			if err != nil || string(got) != string(a.body) {
				t.Errorf("the copy of the copy differs: %v\n%s\n%s", err, got, a.body)
			}
			var m struct{ Layers []ocispec.Descriptor }
			if err := json.Unmarshal(a.body, &m); err != nil {
				t.Fatal(err)
			}
			for _, l := range m.Layers {
				if want := map[string]string{"zstd": "zstd", "docker": "docker"}[name]; !strings.Contains(l.MediaType, want) {
					t.Errorf("a layer of %s", l.MediaType)
				}
			}
			if out := skopeo(t, "list-tags", "--tls-verify=false", "docker://"+s.ref("copy/"+name)); !strings.Contains(out, `"1"`) {
				t.Errorf("tags: %s", out)
			}
			skopeo(t, "inspect", "--raw", "--tls-verify=false", copied)
			skopeo(t, "delete", "--tls-verify=false", copied)
			s.do("GET", "/v2/copy/"+name+"/manifests/1", nil).fails(404, "MANIFEST_UNKNOWN")
			s.do("GET", "/v2/demo/"+name+"/manifests/1", nil).is(200)
		})
	}
}

// containerd has a client of its own.
func TestContainerd(t *testing.T) {
	s := serve(t, nil)
	ctx := t.Context()
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts))})
	config, layer := []byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`), noise(2<<20, 80)
	m := manifest(descriptor(ociConfig, config), "", descriptor("application/octet-stream", layer))
	ref := s.ref("demo/app:1")
	pusher, err := resolver.Pusher(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	all := []struct {
		mediaType string
		bytes     []byte
	}{{"application/octet-stream", layer}, {ociConfig, config}, {ociManifest, m}}
	for _, b := range all {
		d := ocispec.Descriptor{MediaType: b.mediaType, Digest: digest.FromBytes(b.bytes), Size: int64(len(b.bytes))}
		w, err := pusher.Push(ctx, d)
		if err != nil {
			t.Fatalf("%s: %v", b.mediaType, err)
		}
		if err := content.Copy(ctx, w, bytes.NewReader(b.bytes), d.Size, d.Digest); err != nil {
			t.Fatalf("%s: %v", b.mediaType, err)
		}
		w.Close()
	}
	name, target, err := resolver.Resolve(ctx, ref)
	if err != nil || target.Digest != digest.FromBytes(m) || target.MediaType != ociManifest {
		t.Fatalf("%+v, %v", target, err)
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		r, err := fetcher.Fetch(ctx, ocispec.Descriptor{MediaType: b.mediaType, Digest: digest.FromBytes(b.bytes), Size: int64(len(b.bytes))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, b.bytes) {
			t.Errorf("%s: %d other bytes, %v", b.mediaType, len(got), err)
		}
	}
}
