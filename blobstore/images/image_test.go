package images_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// image is Image with its layers waited for.
func (s *server) image(t *testing.T, l reference.Locator, platform string) images.Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	i, err := s.Image(ctx, repo, l, platform)
	if err == nil {
		err = s.WaitLayers(ctx, repo, &i)
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestImageTakenApart(t *testing.T) {
	s, _ := newServer(t)
	b := storetest.Build{
		Tars: [][]byte{storetest.Tar(10, "a"), storetest.Tar(10, "b")},
		History: []ocispec.History{
			{CreatedBy: "FROM base"}, {CreatedBy: "ENV A=b", EmptyLayer: true}, {CreatedBy: "RUN make"}, {CreatedBy: "CMD run", EmptyLayer: true},
		},
	}.Image()
	s.push(t, repo, b, "1")
	i := s.image(t, reference.Locator{Tag: "1"}, "")
	if i.Target != i.Manifest.Descriptor || i.Target.Digest != b.Digest || i.Config.Digest != b.Config || i.Platform != "linux/amd64" || len(i.Platforms) != 0 {
		t.Errorf("%+v", i)
	}
	if string(i.ConfigBytes) != string(b.Blobs[b.Config]) || string(i.Manifest.Bytes) != string(b.Manifest) {
		t.Error("the bytes are not those that were pushed")
	}
	if len(i.Layers) != 2 || len(i.History) != 4 {
		t.Fatalf("%d layers, %d instructions", len(i.Layers), len(i.History))
	}
	for n, l := range i.Layers {
		want := identity.ChainID(append([]digest.Digest{}, b.DiffIDs[:n+1]...))
		if l.Blob.Digest != b.Layers[n] || l.DiffID != b.DiffIDs[n] || l.ChainID != want || l.State != layers.Plain || l.Problem != "" {
			t.Errorf("layer %d: %+v", n, l)
		}
	}
	if i.History[0].Layer != 0 || i.History[1].Layer != -1 || i.History[2].Layer != 1 || i.History[2].CreatedBy != "RUN make" {
		t.Errorf("history %+v", i.History)
	}
}

func TestBadLayersOfAnImage(t *testing.T) {
	for _, c := range []struct {
		name    string
		tars    [][]byte
		change  func(*ocispec.Manifest, *ocispec.Image)
		state   layers.State
		problem string
	}{
		{name: "diffID that is not the config's", tars: [][]byte{storetest.Tar(1, "a")},
			change: func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[0] = digest.FromString("x") },
			state:  layers.Invalid, problem: "its tar is " + digest.FromBytes(storetest.Tar(1, "a")).String()},
		{name: "no tar", tars: [][]byte{[]byte("hello")}, state: layers.Invalid, problem: "no tar"},
		{name: "fewer diffIDs than layers", tars: [][]byte{storetest.Tar(1, "a")},
			change: func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil },
			state:  layers.Invalid, problem: "0 diff_ids for 1 layers"},
		{name: "config without a rootfs", tars: [][]byte{storetest.Tar(1, "a")},
			change: func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS = ocispec.RootFS{} },
			state:  layers.Invalid, problem: "is none of a container image"},
		{name: "attestation", tars: [][]byte{[]byte("{}")},
			change: func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].MediaType = "application/vnd.in-toto+json" },
			state:  layers.Opaque},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t)
			b := storetest.Build{Tars: c.tars, Change: c.change}.Image()
			s.push(t, repo, b, "1") // a registry takes what it does not understand
			i := s.image(t, reference.Locator{Tag: "1"}, "")
			l := i.Layers[0]
			if l.State != c.state || !strings.Contains(l.Problem, c.problem) || (c.problem != "") != strings.Contains(l.Problem, "again") {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestPlatforms(t *testing.T) {
	s, _ := newServer(t)
	platform := func(name string) (storetest.Image, ocispec.Descriptor) {
		parts := append(strings.Split(name, "/"), "")
		p := ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
		i := storetest.Build{Tars: [][]byte{storetest.Tar(1, name)}, Platform: p}.Image()
		d := i.Descriptor()
		d.Platform = &p
		s.push(t, repo, i)
		return i, d
	}
	amd, amdD := platform("linux/amd64")
	arm, armD := platform("linux/arm64")
	v6, v6D := platform("linux/arm/v6")
	v7, v7D := platform("linux/arm/v7")
	attest, attestD := platform("unknown/unknown")
	bare, bareD := platform("linux/riscv64")
	bareD.Platform = nil // the config tells
	marked := attestD
	marked.Platform = amdD.Platform
	marked.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	inner := storetest.Index(armD, bareD)
	s.push(t, repo, inner)
	index := storetest.Index(marked, v6D, amdD, attestD, v7D, inner.Descriptor())
	s.push(t, repo, index, "1")
	only := storetest.Index(attestD, v6D)
	s.push(t, repo, only, "only")

	for _, c := range []struct {
		tag      reference.Tag
		platform string
		want     digest.Digest
	}{
		{"1", "linux/amd64", amd.Digest},
		{"1", "linux/arm64", arm.Digest},
		{"1", "linux/arm64/v8", arm.Digest},
		{"1", "linux/arm/v7", v7.Digest},
		{"1", "linux/arm/v6", v6.Digest},
		{"1", "linux/arm/v8", v7.Digest},
		{"1", "linux/riscv64", bare.Digest},
		{"1", "linux/s390x", ""},
		{"1", "windows/amd64", ""},
		{"only", "", v6.Digest},
		{"only", "linux/amd64", ""},
	} {
		i, err := s.Image(t.Context(), repo, reference.Locator{Tag: c.tag}, c.platform)
		if c.want == "" {
			if !errors.Is(err, blobstore.ErrManifestUnknown) || !strings.Contains(err.Error(), "linux/arm/v6") {
				t.Errorf("%s: %v", c.platform, err)
			}
			continue
		}
		if err != nil || i.Manifest.Digest != c.want || i.Target.MediaType != ocispec.MediaTypeImageIndex {
			t.Errorf("%s: %s, %v", c.platform, i.Manifest.Digest, err)
		}
		if i.Manifest.Digest == attest.Digest {
			t.Errorf("%s: an attestation", c.platform)
		}
	}
	i, err := s.Image(t.Context(), repo, reference.Locator{Tag: "1"}, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range i.Platforms {
		names = append(names, p.Platform)
	}
	if got := fmt.Sprint(names); got != "[linux/arm/v6 linux/amd64 linux/arm/v7 linux/arm64 linux/riscv64]" {
		t.Errorf("platforms %s", got)
	}
	if _, err := s.Image(t.Context(), repo, reference.Locator{Tag: "1"}, "li nux"); !errors.Is(err, blobstore.ErrManifestInvalid) {
		t.Errorf("no platform: %v", err)
	}
}

func TestLayerThatIsKeptElsewhere(t *testing.T) {
	s, _ := newServer(t)
	i := storetest.Build{Tars: [][]byte{storetest.Tar(1, "a")}, Change: func(m *ocispec.Manifest, c *ocispec.Image) {
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
			Digest:    digest.FromString("elsewhere"), Size: 1234, URLs: []string{"https://elsewhere.example/layer"},
		})
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString("its tar"))
	}}.Image()
	s.push(t, repo, i, "1")
	got := s.image(t, reference.Locator{Tag: "1"}, "")
	if got.Layers[0].State != layers.Plain || got.Layers[1].State != layers.Opaque || got.Layers[1].DiffID == "" {
		t.Errorf("layers %+v", got.Layers)
	}
}
