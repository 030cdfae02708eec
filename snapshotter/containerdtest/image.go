package containerdtest

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	transferarchive "github.com/containerd/containerd/v2/core/transfer/archive"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var platform = runtime.GOOS + "/" + runtime.GOARCH

// An Image is a small image that can run: a layer with busybox, and the layers
// of the test on top of it.
type Image struct {
	// Name is the reference under which containerd knows it.
	Name string
	// Layers map paths to contents, one map for each layer.
	Layers []map[string]string
}

// Import puts the image into containerd and unpacks it with the snapshotter, by
// containerd's transfer service, as clients do that pull.
func (h *Host) Import(t testing.TB, img Image) containerd.Image {
	t.Helper()
	archive, err := os.Open(Archive(t, img))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	from := transferarchive.NewImageImportStream(archive, "")
	to := transferimage.NewStore("",
		transferimage.WithNamedPrefix("import", true), // only for images without a name
		transferimage.WithPlatforms(platforms.DefaultSpec()),
		transferimage.WithUnpack(platforms.DefaultSpec(), Snapshotter))
	if err := h.Client.Transfer(h.Context(), from, to); err != nil {
		t.Fatalf("import %s: %v", img.Name, err)
	}
	image, err := h.Client.GetImage(h.Context(), img.Name)
	if err != nil {
		t.Fatalf("import %s: %v", img.Name, err)
	}
	return image
}

// Archive writes an image as an OCI archive and returns its path.
func Archive(t testing.TB, img Image) string {
	t.Helper()
	dir := t.TempDir()
	index, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	// Without a platform, containerd passes the image over without a word.
	err = index.AppendImage(Build(t, img),
		layout.WithPlatform(v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}),
		layout.WithAnnotations(map[string]string{"io.containerd.image.name": img.Name}))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if out, err := exec.Command("tar", "-C", dir, "-cf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return file
}

// Build makes the image for those who push it. The same Image has the same
// digest each time.
func Build(t testing.TB, img Image) v1.Image {
	t.Helper()
	layers := []v1.Layer{busyboxLayer(t)}
	for _, files := range img.Layers {
		var entries []entry
		for _, name := range slices.Sorted(maps.Keys(files)) {
			entries = append(entries, entry{name: name, content: []byte(files[name]), mode: 0o644})
		}
		layers = append(layers, layer(t, entries))
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.ConfigFile(mutate.ConfigMediaType(image, types.OCIConfigJSON), func() *v1.ConfigFile {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = runtime.GOOS, runtime.GOARCH
		config.Config.Env = []string{"PATH=/bin"}
		config.Config.Cmd = []string{"sh"}
		return config
	}())
	if err != nil {
		t.Fatal(err)
	}
	return image
}

type entry struct {
	name, link string
	content    []byte
	mode       int64
}

var busyboxLayers struct {
	sync.Mutex
	layer v1.Layer
}

// busyboxLayer makes the layer once: to compress it takes a while.
func busyboxLayer(t testing.TB) v1.Layer {
	t.Helper()
	busyboxLayers.Lock()
	defer busyboxLayers.Unlock()
	if busyboxLayers.layer == nil {
		busyboxLayers.layer = layer(t, busybox(t))
	}
	return busyboxLayers.layer
}

// busybox is the static one of the machine, with a link for each of its
// commands.
func busybox(t testing.TB) []entry {
	t.Helper()
	binary, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := exec.Command(binary, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	entries := []entry{{name: "bin/busybox", content: content, mode: 0o755}}
	for _, command := range strings.Fields(string(commands)) {
		if command != "busybox" {
			entries = append(entries, entry{name: "bin/" + command, link: "busybox"})
		}
	}
	return append(entries, entry{name: "etc/passwd", content: []byte("root:x:0:0:root:/:/bin/sh\n"), mode: 0o644})
}

func layer(t testing.TB, entries []entry) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	seen := map[string]bool{}
	write := func(h *tar.Header, content []byte) {
		h.ModTime = time.Unix(1_700_000_000, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		for _, dir := range parents(e.name) {
			if !seen[dir] {
				seen[dir] = true
				write(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
			}
		}
		if e.link != "" {
			write(&tar.Header{Typeflag: tar.TypeSymlink, Name: e.name, Linkname: e.link, Mode: 0o777}, nil)
		} else {
			write(&tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: e.mode}, e.content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// parents lists the folders above a path, the outermost first.
func parents(name string) (dirs []string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}
