package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// greeting is in the file /greeting of every image.
const greeting = "hello from a container"

// The kinds of images.
const (
	oci    = "oci"    // OCI media types, layers in gzip
	docker = "docker" // Docker media types
	zstd   = "zstd"   // OCI media types, layers in zstd
	index  = "index"  // for this platform and for another
)

var kinds = []string{oci, docker, zstd, index}

var mediaTypes = map[string]string{oci: ocispec.MediaTypeImageManifest, docker: dockerManifest, zstd: ocispec.MediaTypeImageManifest, index: ocispec.MediaTypeImageIndex}

// samples are images that can run, in an OCI layout with their kinds as names.
type samples struct {
	dir     string
	digests map[string]digest.Digest
	what    map[string]remote.Taggable
}

func makeSamples(t *testing.T) *samples {
	t.Helper()
	needs.Commands(t, "busybox")
	s := &samples{dir: filepath.Join(t.TempDir(), "layout"), digests: map[string]digest.Digest{}, what: map[string]remote.Taggable{}}
	plain := containerdtest.Build(t, containerdtest.Image{Layers: []map[string]string{{"greeting": greeting}}})
	l, err := layout.Write(s.dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	add := func(kind string, image v1.Image) {
		t.Helper()
		if err := l.AppendImage(image, named(kind), layout.WithPlatform(here)); err != nil {
			t.Fatal(err)
		}
		s.digests[kind], s.what[kind] = digestOf(t, image), image
	}
	add(oci, plain)
	add(docker, recompressed(t, plain, compression.GZip, types.DockerLayer, types.DockerManifestSchema2, types.DockerConfigJSON, here))
	add(zstd, recompressed(t, plain, compression.ZStd, types.OCILayerZStd, types.OCIManifestSchema1, types.OCIConfigJSON, here))
	foreign := recompressed(t, plain, compression.GZip, types.OCILayer, types.OCIManifestSchema1, types.OCIConfigJSON, elsewhere)
	many := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: plain, Descriptor: v1.Descriptor{Platform: &here}},
		mutate.IndexAddendum{Add: foreign, Descriptor: v1.Descriptor{Platform: &elsewhere}})
	if err := l.AppendIndex(many, named(index)); err != nil {
		t.Fatal(err)
	}
	s.digests[index], s.what[index] = digestOf(t, many), many
	return s
}

var (
	here      = v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	elsewhere = v1.Platform{OS: "linux", Architecture: "s390x"}
)

func named(s string) layout.Option {
	return layout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: s, "io.containerd.image.name": "example.org/" + s + ":1"})
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) digest.Digest {
	t.Helper()
	h, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(h.String())
}

// recompressed is the same image with other media types, for a platform.
func recompressed(t *testing.T, from v1.Image, c compression.Compression, layer, manifest, config types.MediaType, p v1.Platform) v1.Image {
	t.Helper()
	layers, err := from.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Layer
	for _, l := range layers {
		l, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithCompression(c), tarball.WithMediaType(layer), tarball.WithCompressedCaching)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return assemble(t, from, out, manifest, config, p)
}

func assemble(t *testing.T, like v1.Image, layers []v1.Layer, manifest, config types.MediaType, p v1.Platform) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, manifest), config), layers...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	model, err := like.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Config, c.OS, c.Architecture = model.Config, p.OS, p.Architecture
	if image, err = mutate.ConfigFile(image, c); err != nil {
		t.Fatal(err)
	}
	return image
}

// heavy is an image with a layer of size bytes that nothing makes smaller, in a
// layout of its own under the name "heavy".
func heavy(t *testing.T, size int64) (dir string, d digest.Digest) {
	t.Helper()
	l, err := random.Layer(size, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	like := containerdtest.Build(t, containerdtest.Image{})
	image := assemble(t, like, []v1.Layer{l}, types.OCIManifestSchema1, types.OCIConfigJSON, here)
	dir = filepath.Join(t.TempDir(), "heavy")
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.AppendImage(image, named("heavy"), layout.WithPlatform(here)); err != nil {
		t.Fatal(err)
	}
	return dir, digestOf(t, image)
}

// push puts the samples into the registry, as from/KIND:1: what tests of pulling
// begin with.
func (s *samples) push(t *testing.T, r *registry) {
	t.Helper()
	for _, kind := range kinds {
		ref, err := name.ParseReference(r.ref("from/" + kind + ":1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Push(ref, s.what[kind], remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
		if m, d := r.whole(t, "from/"+kind+":1"); d != s.digests[kind] || m.MediaType != mediaTypes[kind] {
			t.Errorf("%s is %s of %s, pushed was %s", kind, d, m.MediaType, s.digests[kind])
		}
	}
}

// hasAll says whether the words are all there, in whatever order.
func hasAll(text string, words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// copyBusybox puts the machine's static busybox into a file.
func copyBusybox(t *testing.T, to string) {
	t.Helper()
	needs.Commands(t, "busybox")
	from, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
