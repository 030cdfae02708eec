package transfer

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	layouts "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/needs"

	"github.com/laminastore/lamina/internal/imagetest"
)

// identity is what a docker-archive keeps of an image: the config with its
// digest, and the diffIDs, which are checked against the layers.
func identity(t *testing.T, place string) (config digest.Digest, layers []digest.Digest) {
	t.Helper()
	all := everything(t, place)
	var m ocispec.Manifest
	if err := json.Unmarshal([]byte(all[all["root"]]), &m); err != nil {
		t.Fatal(err)
	}
	diffIDs, err := configDiffIDs([]byte(all[string(m.Config.Digest)]))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range m.Layers {
		z, err := decompress(strings.NewReader(all[string(l.Digest)]), sniffBytes([]byte(all[string(l.Digest)])))
		if err != nil {
			t.Fatal(err)
		}
		got, err := digest.FromReader(z)
		if err != nil || got != diffIDs[i] {
			t.Errorf("layer %d has the diffID %s, the config says %s (%v)", i, got, diffIDs[i], err)
		}
	}
	return m.Config.Digest, diffIDs
}

func sameImage(t *testing.T, a, b string) {
	t.Helper()
	configA, layersA := identity(t, a)
	configB, layersB := identity(t, b)
	if configA != configB || !slices.Equal(layersA, layersB) {
		t.Errorf("%s has config %s and layers %v\n%s has config %s and layers %v", a, configA, layersA, b, configB, layersB)
	}
}

func TestADockerArchiveKeepsConfigAndLayers(t *testing.T) {
	b := imagetest.Blobs{}
	origin := "oci:" + b.Layout(t, b.Image("amd64", 1, 1000, 70_000, 1000, 0))
	archive := "docker-archive:" + t.TempDir() + "/x.tar:demo/app:1"
	mustCopy(t, origin, archive, Options{})
	sameImage(t, origin, archive)
	for kind, place := range places(t) {
		t.Run(kind, func(t *testing.T) {
			mustCopy(t, archive, place, Options{})
			sameImage(t, origin, place)
		})
	}
	// Every time the same manifest, so that nothing moves the second time.
	again := "docker-archive:" + t.TempDir() + "/y.tar:demo/app:1"
	mustCopy(t, archive, again, Options{})
	if a, b := everything(t, archive)["root"], everything(t, again)["root"]; a != b {
		t.Errorf("manifest %s, and then %s", a, b)
	}
}

func TestOtherToolsReadWhatIsWritten(t *testing.T) {
	needs.Commands(t, "skopeo")
	b := imagetest.Blobs{}
	origin := "oci:" + b.Layout(t, b.Image("amd64", 1, 1000, 70_000))
	index := "oci:" + b.Layout(t, b.Index())
	for _, kind := range []string{"oci:", "oci-archive:", "docker-archive:"} {
		place := kind + filepath.Join(t.TempDir(), "x") + ":localhost/demo/app:1"
		mustCopy(t, origin, place, Options{})
		out := "oci:" + t.TempDir() + "/out:1"
		run(t, "skopeo", "copy", "--insecure-policy", place, out)
		sameImage(t, origin, out)
	}
	for _, kind := range []string{"oci:", "oci-archive:"} {
		place := kind + filepath.Join(t.TempDir(), "x") + ":1"
		mustCopy(t, index, place, Options{})
		out := "oci:" + t.TempDir() + "/out:1"
		run(t, "skopeo", "copy", "--insecure-policy", "--all", "--preserve-digests", place, out)
		if got := everything(t, out); len(got) != len(everything(t, index)) || got["root"] != everything(t, index)["root"] {
			t.Errorf("%s: skopeo made %d things of it, root %s", kind, len(got), got["root"])
		}
	}
}

func TestWhatOtherToolsWriteIsRead(t *testing.T) {
	needs.Commands(t, "skopeo")
	b := imagetest.Blobs{}
	origin := "oci:" + b.Layout(t, b.Image("amd64", 1, 1000, 70_000))
	for _, kind := range []string{"oci:", "oci-archive:", "docker-archive:"} {
		t.Run("skopeo "+kind, func(t *testing.T) {
			place := kind + filepath.Join(t.TempDir(), "x") + ":localhost/demo/app:1"
			run(t, "skopeo", "copy", "--insecure-policy", origin, place)
			sameImage(t, origin, place)
			// Packed as a whole, as people do to send it to each other.
			file := strings.Split(place, ":")[1]
			if kind != "oci:" {
				run(t, "gzip", file)
				sameImage(t, origin, kind+file+".gz")
			}
		})
	}
	t.Run("crane, with compressed layers", func(t *testing.T) {
		index, err := layouts.ImageIndexFromPath(strings.TrimPrefix(origin, "oci:"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		img, err := index.Image(m.Manifests[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "x.tar")
		if err := tarball.WriteToFile(file, name.MustParseReference("demo/app:1"), img); err != nil {
			t.Fatal(err)
		}
		sameImage(t, origin, "docker-archive:"+file)
		// They are taken as they are.
		all := everything(t, "docker-archive:"+file)
		for d := range b {
			if _, ok := all[string(d)]; !ok && sniffBytes(b[d]) == "gzip" {
				t.Errorf("layer %s is not in the image any more", d)
			}
		}
	})
}

// dockerFile writes an archive by hand.
func dockerFile(t *testing.T, add func(w *tar.Writer)) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return "docker-archive:" + name
}

func addFile(w *tar.Writer, name string, data []byte) {
	_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	_, _ = w.Write(data)
}

func dockerConfigOf(layers ...[]byte) []byte {
	var c ocispec.Image
	c.OS, c.Architecture = "linux", "amd64"
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
	}
	b, _ := json.Marshal(c)
	return b
}

// Before version 25 docker save wrote a layer that several images have once,
// and symbolic links to it.
func TestLayersThatAreLinks(t *testing.T) {
	layer := imagetest.TarOf(1, 5000)
	place := dockerFile(t, func(w *tar.Writer) {
		addFile(w, "aaa/layer.tar", layer)
		_ = w.WriteHeader(&tar.Header{Name: "bbb/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../aaa/layer.tar"})
		_ = w.WriteHeader(&tar.Header{Name: "ccc/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../ccc/layer.tar"})
		addFile(w, "c.json", dockerConfigOf(layer))
		addFile(w, "manifest.json", []byte(`[
			{"Config":"c.json","RepoTags":["demo/app:1"],"Layers":["bbb/layer.tar"]},
			{"Config":"c.json","RepoTags":["demo/app:loop"],"Layers":["ccc/layer.tar"]}]`))
	})
	if _, diffIDs := identity(t, place+":demo/app:1"); len(diffIDs) != 1 {
		t.Errorf("%v", diffIDs)
	}
	_, err := Open(t.Context(), mustParse(t, place+":demo/app:loop"), OpenOptions{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "ccc/layer.tar") {
		t.Errorf("a link to itself: %v", err)
	}
}

func TestTheImageInADockerArchiveIsNamed(t *testing.T) {
	layer := imagetest.TarOf(1, 100)
	place := dockerFile(t, func(w *tar.Writer) {
		addFile(w, "l.tar", layer)
		addFile(w, "one.json", dockerConfigOf(layer))
		addFile(w, "two.json", dockerConfigOf(layer, layer))
		addFile(w, "manifest.json", []byte(`[
			{"Config":"one.json","RepoTags":["demo/one:latest","other/name:7"],"Layers":["l.tar"]},
			{"Config":"two.json","RepoTags":["node:20"],"Layers":["l.tar","l.tar"]}]`))
	})
	for name, layers := range map[string]int{
		"demo/one": 1, "demo/one:latest": 1, "other/name:7": 1, "node:20": 2, "docker.io/library/node:20": 2,
	} {
		if _, diffIDs := identity(t, place+":"+name); len(diffIDs) != layers {
			t.Errorf("%s has %d layers", name, len(diffIDs))
		}
	}
	_, err := Open(t.Context(), mustParse(t, place), OpenOptions{})
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), "demo/one:latest, other/name:7, node:20") {
		t.Errorf("no name: %v", err)
	}
	_, err = Open(t.Context(), mustParse(t, place+":nothing"), OpenOptions{})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "node:20") {
		t.Errorf("no such name: %v", err)
	}
}

func TestBadDockerArchives(t *testing.T) {
	layer, other := imagetest.TarOf(1, 5000), imagetest.TarOf(2, 5000)
	index := []byte(`[{"Config":"c.json","Layers":["l.tar"]}]`)
	for _, c := range []struct {
		name  string
		files map[string][]byte
		class error
		says  string
	}{
		{"another layer", map[string][]byte{"l.tar": other, "c.json": dockerConfigOf(layer), "manifest.json": index}, ErrDamaged, "layer 1 of 1: l.tar has the diffID"},
		{"a layer too many", map[string][]byte{"l.tar": layer, "c.json": dockerConfigOf(), "manifest.json": index}, ErrDamaged, "1 layers, and its config names 0"},
		{"no layer", map[string][]byte{"c.json": dockerConfigOf(layer), "manifest.json": index}, ErrDamaged, "names l.tar, which is not in it"},
		{"no config", map[string][]byte{"l.tar": layer, "manifest.json": index}, ErrDamaged, "names c.json, which is not in it"},
		{"config is no JSON", map[string][]byte{"l.tar": layer, "c.json": []byte("{"), "manifest.json": index}, ErrDamaged, "c.json"},
		{"config leads out", map[string][]byte{"manifest.json": []byte(`[{"Config":"../../etc/passwd"}]`)}, ErrDamaged, "not in it"},
		{"no manifest.json", map[string][]byte{"l.tar": layer}, ErrNotFound, "docker save did not write it"},
		{"manifest.json is no JSON", map[string][]byte{"manifest.json": []byte("[")}, ErrDamaged, "manifest.json"},
		{"no image", map[string][]byte{"manifest.json": []byte("[]")}, ErrNotFound, "no image"},
		{"cut compression", map[string][]byte{"l.tar": imagetest.Gzipped(layer)[:1000], "c.json": dockerConfigOf(layer), "manifest.json": index}, ErrDamaged, "layer 1 of 1"},
		{"zstd", map[string][]byte{"l.tar": []byte("\x28\xb5\x2f\xfd...."), "c.json": dockerConfigOf(layer), "manifest.json": index}, ErrUnsupported, "oci-archive:FILE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := dockerFile(t, func(w *tar.Writer) {
				for name, data := range c.files {
					addFile(w, name, data)
				}
			})
			_, err := Open(t.Context(), mustParse(t, place), OpenOptions{})
			t.Log(err)
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want one that says %q", err, c.says)
			}
		})
	}
}

func TestWhatNoDockerArchiveCanHold(t *testing.T) {
	b := imagetest.Blobs{}
	artifact := b.AddJSON(ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
		"config": b.Add("application/vnd.oci.empty.v1+json", []byte("{}")),
		"layers": []any{b.Add("application/spdx+json", []byte(`{"x":1}`))},
	})
	_, err := copyImage(t, "oci:"+b.Layout(t, artifact), "docker-archive:"+t.TempDir()+"/x.tar", Options{})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "oci-archive:") {
		t.Errorf("%v", err)
	}
}

func run(t *testing.T, command string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
}
