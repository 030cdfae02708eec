package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	registryserver "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/imagetest"
	"github.com/laminastore/lamina/server/servertest"
)

// badLayer is an image whose config names another layer than the manifest.
func badLayer(b imagetest.Blobs) ocispec.Descriptor {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	m.Config = b.AddJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("another")}},
	})
	m.Layers = []ocispec.Descriptor{b.Add(ocispec.MediaTypeImageLayerGzip, imagetest.Gzipped(imagetest.TarOf(3, 1000)))}
	return b.AddJSON(ocispec.MediaTypeImageManifest, m)
}

// everyPlace is a place of each kind, empty.
func everyPlace(t *testing.T) map[string]string {
	dir := t.TempDir()
	srv := httptest.NewServer(registryserver.New())
	t.Cleanup(srv.Close)
	return map[string]string{
		"oci":            "oci:" + filepath.Join(dir, "layout"),
		"oci-archive":    "oci-archive:" + filepath.Join(dir, "oci.tar"),
		"docker-archive": "docker-archive:" + filepath.Join(dir, "docker.tar"),
		"docker":         "docker://" + strings.TrimPrefix(srv.URL, "http://") + "/demo/app:1",
	}
}

// image is what every kind of place keeps: the config, and so all diffIDs.
func (c *cli) image(ref string) (manifest string, config ocispec.Image) {
	c.t.Helper()
	var v struct {
		Digest string
		Config ocispec.Image
		Layers []struct{ State string }
	}
	if err := json.Unmarshal([]byte(c.run("inspect", "-o", "json", ref)), &v); err != nil {
		c.t.Fatal(err)
	}
	for i, l := range v.Layers {
		if l.State != "plain" {
			c.t.Errorf("%s: layer %d is %s", ref, i, l.State)
		}
	}
	return v.Digest, v.Config
}

func TestEachPlaceGivesBackWhatItGot(t *testing.T) {
	c, s := withServer(t)
	b := imagetest.Blobs{}
	root := b.Image(runtime.GOARCH, 1, 1000, 50_000, 1000)
	c.run("push", "-q", "oci:"+b.Layout(t, root), "origin/app:1")
	_, want := c.image("origin/app:1")
	for kind, place := range everyPlace(t) {
		t.Run(kind, func(t *testing.T) {
			c := &cli{t, c.env}
			c.run("pull", "-q", "origin/app:1", place)
			repo := "back/" + kind + ":1"
			c.run("push", "-q", place, repo)
			manifest, got := c.image(repo)
			if kind != "docker-archive" && manifest != string(root.Digest) {
				t.Errorf("the manifest is %s, and was %s", manifest, root.Digest)
			}
			a, _ := json.Marshal(want)
			b, _ := json.Marshal(got)
			if string(a) != string(b) {
				t.Errorf("the config is\n%s\nand was\n%s", b, a)
			}
		})
	}
	// The same through the name of the registry, as somebody writes it who
	// has set nothing.
	alone := newCLI(t)
	place := "oci:" + filepath.Join(t.TempDir(), "x")
	alone.run("push", "-q", "oci:"+b.Layout(t, root), s.HTTP+"/by/host:1")
	alone.run("pull", "-q", s.HTTP+"/by/host:1", place)
	if out := alone.run("images", s.HTTP+"/by"); !strings.Contains(out, "by/host") {
		t.Error(out)
	}
	alone.run("tag", s.HTTP+"/by/host:1", s.HTTP+"/by/host:2")
	alone.run("rm", s.HTTP+"/by/host:2")
}

func TestAnotherRegistryIsPushedToAsAny(t *testing.T) {
	srv := httptest.NewServer(registryserver.New())
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	b := imagetest.Blobs{}
	root := b.Index()
	c := newCLI(t)
	c.run("push", "-q", "oci:"+b.Layout(t, root), host+"/demo/app:1")
	dir := filepath.Join(t.TempDir(), "x")
	c.run("pull", "-q", host+"/demo/app:1", "oci:"+dir)
	for d, want := range b {
		if got, err := os.ReadFile(filepath.Join(dir, "blobs/sha256", d.Encoded())); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", d, err)
		}
	}
	// Between two servers.
	d, _ := withServer(t)
	d.run("push", "-q", "docker://"+host+"/demo/app:1", "mirror/app:1")
	if got := d.run("inspect", "--raw", "mirror/app:1"); got != string(b[root.Digest]) {
		t.Error("the index is not what it was")
	}
}

func TestPullNamesWhatItWrites(t *testing.T) {
	c, _ := withServer(t)
	b := imagetest.Blobs{}
	c.run("push", "-q", "oci:"+b.Layout(t, b.Image(runtime.GOARCH, 1, 100)), "demo/app:7")
	dir := t.TempDir()
	c.run("pull", "-q", "demo/app:7", "oci:"+dir)
	c.run("push", "-q", "oci:"+dir+":7", "x/y:1")
	c.run("pull", "-q", "demo/app:7", "docker-archive:"+dir+"/x.tar")
	c.run("push", "-q", "docker-archive:"+dir+"/x.tar:demo/app:7", "x/y:2")
	c.run("pull", "-q", "demo/app:7", "docker-archive:"+dir+"/x.tar:other/name:9")
	c.run("push", "-q", "docker-archive:"+dir+"/x.tar:other/name:9", "x/y:3")
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	// Two at one address: the second says so.
	s := servertest.Start(t, servertest.Options{})
	c := newCLI(t)
	line := c.fails(1, "serve", "--bucket", "file://"+dir, "--grpc", s.GRPC, "--http", "off", "--metrics", "off", "--log-level", "error")
	if !strings.Contains(line, "--grpc") || !strings.Contains(line, "another process listens there") {
		t.Error(line)
	}
	if line := c.fails(1, "serve", "--bucket", "ftp://x", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--metrics", "off"); !strings.Contains(line, "ftp://x") {
		t.Error(line)
	}
}
