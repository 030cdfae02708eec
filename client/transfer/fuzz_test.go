package transfer

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/imagetest"
)

func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{
		"oci:./app", "oci:app:1", "oci-archive:a.tar:docker.io/x/y:1", "docker-archive:x.tar", "docker://localhost:5000/a/b:1",
		"docker:x", "oci:", "oci::1", "oci:a:", "./app", "localhost:5000/x", "oci:a:-", "oci:a:x--y@z+1", "oci:a:b\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLocation(s)
		if err != nil {
			if strings.Contains(s, "\n") {
				return
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: several lines: %v", s, err)
			}
			return
		}
		again, err := ParseLocation(l.String())
		if err != nil || again != l {
			t.Errorf("%q is %+v, and its string is %+v (%v)", s, l, again, err)
		}
		if l.Path == "" {
			t.Errorf("%q has no path", s)
		}
	})
}

func FuzzIndexTar(f *testing.F) {
	var good bytes.Buffer
	w := tar.NewWriter(&good)
	addFile(w, "./blobs/sha256/x", []byte("hello"))
	_ = w.WriteHeader(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../blobs/sha256/x"})
	_ = w.WriteHeader(&tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "l"})
	_ = w.Close()
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:700])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := indexTar(bytes.NewReader(b))
		if err != nil {
			return
		}
		for name, e := range entries {
			if strings.HasPrefix(name, "/") || path.Clean("/"+name) != "/"+name {
				t.Errorf("name %q leads out", name)
			}
			if e.link == "" && (e.offset < 0 || e.size < 0 || e.offset+e.size > int64(len(b))) {
				t.Errorf("%q lies at %d+%d of %d", name, e.offset, e.size, len(b))
			}
		}
	})
}

func FuzzParseDockerIndex(f *testing.F) {
	f.Add([]byte(`[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]`))
	f.Add([]byte(`[{"Config":""}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		images, err := parseDockerIndex(b)
		if err != nil {
			return
		}
		for _, img := range images {
			if img.Config == "" || len(img.Layers) > maxDockerLayers {
				t.Errorf("%+v", img)
			}
		}
		_, _ = chooseDockerImage(images, Location{Kind: DockerArchive, Path: "x", Name: "a:1"})
	})
}

func FuzzParseManifest(f *testing.F) {
	b := imagetest.Blobs{}
	b.Index()
	for _, data := range b {
		f.Add("", data)
	}
	f.Add("", []byte(`{"schemaVersion":1}`))
	f.Add(ocispec.MediaTypeImageIndex, []byte(`{"manifests":[{"digest":"sha256:x"}]}`))
	f.Fuzz(func(t *testing.T, mediaType string, data []byte) {
		m, err := parseManifest(ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data)}, data)
		if err != nil {
			return
		}
		for _, d := range append(m.blobs(), m.manifests...) {
			if d.Digest.Validate() != nil || d.Size < 0 {
				t.Errorf("%+v", d)
			}
			if name := blobName(d.Digest); path.Clean(name) != name {
				t.Errorf("%q leads out", name)
			}
		}
	})
}

func FuzzAddEntry(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:x","annotations":{"org.opencontainers.image.ref.name":"1"}}]}`), "1")
	f.Add([]byte(`{"manifests":null}`), "")
	f.Add([]byte(`{"manifests":[null, 3]}`), "2")
	f.Fuzz(func(t *testing.T, old []byte, name string) {
		if name != "" && !refNameRE.MatchString(name) {
			return
		}
		root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1}
		b, err := addEntry(old, root, name)
		if err != nil {
			return
		}
		var index ocispec.Index
		if err := json.Unmarshal(b, &index); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		last := index.Manifests[len(index.Manifests)-1]
		if last.Digest != root.Digest {
			t.Errorf("the last entry is %+v", last)
		}
		// The second time it takes its own place.
		again, err := addEntry(b, root, name)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s, and again %s: %v", b, again, err)
		}
	})
}
