package registry_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/images"
)

func TestAManifestIsPulledAsItWasPushed(t *testing.T) {
	s := serve(t, nil)
	d, m := s.image("demo/app", "1", "it")
	if d != digest.FromBytes(m) {
		t.Fatalf("digest %s", d)
	}
	describes := []string{
		"Content-Type: " + ociManifest, "Docker-Content-Digest: " + string(d), "ETag: \"" + string(d) + "\"",
	}
	for _, ref := range []string{"1", string(d)} {
		path := "/v2/demo/app/manifests/" + ref
		// Nothing is converted, whatever a client would rather have.
		for _, accept := range []string{ociManifest, "*/*", "application/vnd.docker.distribution.manifest.v1+json", ociIndex} {
			if a := s.do("GET", path, nil, "Accept: "+accept).is(200, describes...); !bytes.Equal(a.body, m) {
				t.Errorf("%s: %s", ref, a.body)
			}
		}
		a := s.do("HEAD", path, nil).is(200, describes...)
		if len(a.body) > 0 || a.header.Get("Content-Length") != itoa(len(m)) {
			t.Errorf("HEAD: %v", a.header)
		}
		for _, method := range []string{"GET", "HEAD"} {
			s.do(method, path, nil, "If-None-Match: \""+string(d)+"\"").is(304)
			s.do(method, path, nil, "If-None-Match: \"x\"").is(200)
		}
	}
}

func TestAManifestIsPushed(t *testing.T) {
	s := serve(t, nil)
	config := []byte(`{"author":"it"}`)
	s.push("demo/app", config)
	m := manifest(descriptor(ociConfig, config), "")
	d, d512 := digest.FromBytes(m), digest.SHA512.FromBytes(m)
	typed := "Content-Type: " + ociManifest + "; charset=utf-8" // parameters are ignored

	s.do("PUT", "/v2/demo/app/manifests/1", m, typed).
		is(201, "Location: /v2/demo/app/manifests/"+string(d), "Docker-Content-Digest: "+string(d), "OCI-Subject: ", "Content-Length: 0")
	s.do("PUT", "/v2/demo/app/manifests/"+string(d), unsized{bytes.NewReader(m)}, typed).is(201, "Docker-Content-Digest: "+string(d), "OCI-Tag: ")
	s.do("PUT", "/v2/demo/app/manifests/"+string(d512), m, typed).is(201, "Docker-Content-Digest: "+string(d512))

	a := s.do("PUT", "/v2/demo/app/manifests/"+string(d512)+"?tag=x&tag=y", m, typed).is(201)
	if got := strings.Join(a.header.Values("OCI-Tag"), " "); got != "x y" {
		t.Errorf("OCI-Tag: %q", got)
	}
	for ref, want := range map[string]digest.Digest{"1": d, "x": d512, "y": d512, string(d): d, string(d512): d512} {
		s.do("HEAD", "/v2/demo/app/manifests/"+ref, nil).is(200, "Docker-Content-Digest: "+string(want))
	}
}

func TestALargeManifest(t *testing.T) {
	s := serve(t, nil)
	config := []byte(`{}`)
	s.push("demo/app", config)
	annotation := strings.Repeat("a", images.MaxManifestSize-400)
	m := manifest(descriptor(ociConfig, config), `,"annotations":{"large":"`+annotation+`"}`)
	for len(m) < images.MaxManifestSize {
		m = append(m, ' ')
	}
	s.do("PUT", "/v2/demo/app/manifests/large", m, "Content-Type: "+ociManifest).is(201)
	if a := s.do("GET", "/v2/demo/app/manifests/large", nil).is(200); !bytes.Equal(a.body, m) {
		t.Errorf("%d bytes", len(a.body))
	}
}

func TestEachMissingBlobIsNamed(t *testing.T) {
	s := serve(t, nil)
	m := manifest(descriptor(ociConfig, []byte("config")), "", descriptor("application/vnd.oci.image.layer.v1.tar", []byte("layer")))
	a := s.do("PUT", "/v2/demo/app/manifests/1", m, "Content-Type: "+ociManifest).fails(400, "MANIFEST_BLOB_UNKNOWN")
	named := map[string]bool{}
	for _, e := range a.errors() {
		named[e.Detail["digest"]] = e.Code == "MANIFEST_BLOB_UNKNOWN"
	}
	for _, b := range []string{"config", "layer"} {
		if !named[string(digest.FromString(b))] {
			t.Errorf("%s is not named: %s", b, a.body)
		}
	}
}

func TestATagIsReplacedUnderACondition(t *testing.T) {
	s := serve(t, nil)
	one, m1 := s.image("demo/app", "1", "one")
	two, m2 := s.image("demo/app", "2", "two")
	put := func(tag string, m []byte, condition string) answer {
		return s.do("PUT", "/v2/demo/app/manifests/"+tag, m, "Content-Type: "+ociManifest, condition)
	}
	put("new", m1, "If-None-Match: *").is(201)
	put("new", m2, "If-None-Match: *").fails(412, "DENIED", "new")
	put("new", m2, "If-Match: \""+string(two)+"\"").fails(412, "DENIED", "new")
	s.do("HEAD", "/v2/demo/app/manifests/new", nil).is(200, "Docker-Content-Digest: "+string(one))
	put("new", m2, "If-Match: \""+string(one)+"\"").is(201)
	s.do("HEAD", "/v2/demo/app/manifests/new", nil).is(200, "Docker-Content-Digest: "+string(two))
}

func TestAManifestIsDeleted(t *testing.T) {
	s := serve(t, nil)
	d, m := s.image("demo/app", "1", "it")
	s.do("PUT", "/v2/demo/app/manifests/2", m, "Content-Type: "+ociManifest).is(201)
	s.do("DELETE", "/v2/demo/app/manifests/1", nil).is(202, "Content-Length: 0")
	s.do("GET", "/v2/demo/app/manifests/1", nil).fails(404, "MANIFEST_UNKNOWN", "1")
	s.do("GET", "/v2/demo/app/manifests/2", nil).is(200)
	s.do("DELETE", "/v2/demo/app/manifests/"+string(d), nil).is(202)
	for _, ref := range []string{"2", string(d)} {
		s.do("GET", "/v2/demo/app/manifests/"+ref, nil).fails(404, "MANIFEST_UNKNOWN", ref)
		s.do("HEAD", "/v2/demo/app/manifests/"+ref, nil).is(404)
		s.do("DELETE", "/v2/demo/app/manifests/"+ref, nil).fails(404, "MANIFEST_UNKNOWN", ref)
	}
	if a := s.do("GET", "/v2/demo/app/tags/list", nil).is(200); string(a.body) != `{"name":"demo/app","tags":[]}` {
		t.Errorf("%s", a.body)
	}
}

func TestReferrers(t *testing.T) {
	s := serve(t, nil)
	subject, _ := s.image("demo/app", "1", "it")
	list := func(path string) (ocispec.Index, answer) {
		a := s.do("GET", path, nil).is(200, "Content-Type: "+ociIndex)
		var index ocispec.Index
		if err := json.Unmarshal(a.body, &index); err != nil || index.MediaType != ociIndex || index.SchemaVersion != 2 || index.Manifests == nil {
			t.Fatalf("%s: %v: %s", path, err, a.body)
		}
		return index, a
	}
	// Also where there is nothing at all.
	for _, path := range []string{"/v2/demo/app/referrers/" + string(subject), "/v2/demo/none/referrers/" + absent} {
		if index, _ := list(path); len(index.Manifests) != 0 {
			t.Errorf("%s: %v", path, index.Manifests)
		}
	}
	empty := []byte(`{}`)
	s.push("demo/app", empty)
	note := strings.Repeat("n", 500_000)
	want := map[digest.Digest]bool{}
	for i := range 9 {
		kind := "application/vnd.example.a"
		if i%3 == 0 {
			kind = "application/vnd.example.b"
		}
		m := manifest(descriptor("application/vnd.oci.empty.v1+json", empty),
			`,"artifactType":"`+kind+`","annotations":{"i":"`+itoa(i)+`","note":"`+note+`"},"subject":{"mediaType":"`+ociManifest+`","digest":"`+string(subject)+`","size":1}`)
		d := digest.FromBytes(m)
		s.do("PUT", "/v2/demo/app/manifests/"+string(d), m, "Content-Type: "+ociManifest).is(201, "OCI-Subject: "+string(subject))
		want[d] = i%3 == 0
	}
	for _, filter := range []string{"", "?artifactType=application/vnd.example.b", "?n=2"} {
		pages, got := 0, map[digest.Digest]bool{}
		for path := "/v2/demo/app/referrers/" + string(subject) + filter; path != ""; pages++ {
			index, a := list(path)
			filtered := strings.Contains(filter, "artifactType")
			if (a.header.Get("OCI-Filters-Applied") == "artifactType") != filtered {
				t.Errorf("%s: OCI-Filters-Applied: %q", path, a.header.Get("OCI-Filters-Applied"))
			}
			if len(a.body) > 4<<20 {
				t.Errorf("%s: an index of %d bytes", path, len(a.body))
			}
			for _, d := range index.Manifests {
				if got[d.Digest] || filtered && !want[d.Digest] || d.Annotations["note"] != note || d.ArtifactType == "" {
					t.Errorf("%s: %s %s", path, d.Digest, d.ArtifactType)
				}
				got[d.Digest] = true
			}
			path = next(t, a)
		}
		wantPages, wantAll := 2, 9
		switch {
		case strings.Contains(filter, "artifactType"):
			wantPages, wantAll = 1, 3
		case filter != "":
			wantPages = 5
		}
		if pages != wantPages || len(got) != wantAll {
			t.Errorf("%q: %d referrers on %d pages", filter, len(got), pages)
		}
	}
}
