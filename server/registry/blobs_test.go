package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

func TestABlobIsPulled(t *testing.T) {
	s := serve(t, nil)
	for _, size := range []int{0, 1, 2048, 70_000, 3 << 20, 9 << 20} {
		b := noise(size, 1)
		d := s.push("demo/app", b)
		path := "/v2/demo/app/blobs/" + string(d)
		describes := []string{
			"Content-Length: " + strconv.Itoa(size), "Content-Type: application/octet-stream", "Docker-Content-Digest: " + string(d),
			"ETag: \"" + string(d) + "\"", "Accept-Ranges: bytes", "Docker-Distribution-API-Version: registry/2.0",
		}
		if a := s.do("GET", path, nil).is(200, describes...); !bytes.Equal(a.body, b) {
			t.Fatalf("%d bytes: %d others came", size, len(a.body))
		}
		if a := s.do("HEAD", path, nil).is(200, describes...); len(a.body) != 0 {
			t.Fatalf("HEAD has a body of %d bytes", len(a.body))
		}
	}
}

func TestABlobIsPulledInRanges(t *testing.T) {
	s := serve(t, nil)
	b := noise(200_000, 2)
	d := s.push("demo/app", b)
	path := "/v2/demo/app/blobs/" + string(d)
	for header, want := range map[string][2]int{
		"bytes=0-0":           {0, 1},
		"bytes=500-1499":      {500, 1500},
		"bytes=199000-":       {199_000, 200_000},
		"bytes=-500":          {199_500, 200_000},
		"bytes=199999-999999": {199_999, 200_000},
		"bytes=0-":            {0, 200_000},
		"bytes=5-9,10-19":     {5, 20}, // they touch
	} {
		a := s.do("GET", path, nil, "Range: "+header).is(206,
			"Content-Range: bytes "+strconv.Itoa(want[0])+"-"+strconv.Itoa(want[1]-1)+"/200000", "Content-Length: "+strconv.Itoa(want[1]-want[0]))
		if !bytes.Equal(a.body, b[want[0]:want[1]]) {
			t.Errorf("%s: other bytes", header)
		}
	}
	for _, header := range []string{"bytes=200000-", "bytes=500-0", "bytes=x"} {
		s.do("GET", path, nil, "Range: "+header).fails(416, "SIZE_INVALID", header, "200000 bytes").is(416, "Content-Range: bytes */200000")
	}
	// A unit that nobody has heard of is ignored, and so is a Range with HEAD.
	s.do("GET", path, nil, "Range: lines=1-2").is(200, "Content-Length: 200000")
	s.do("HEAD", path, nil, "Range: bytes=0-1").is(200, "Content-Length: 200000")
	// A range counts only for the version that the client has the rest of.
	s.do("GET", path, nil, "Range: bytes=0-1", "If-Range: \""+string(d)+"\"").is(206)
	s.do("GET", path, nil, "Range: bytes=0-1", "If-Range: \"other\"").is(200, "Content-Length: 200000")
	s.do("GET", path, nil, "Range: bytes=0-1", "If-Range: Mon, 02 Jan 2006 15:04:05 GMT").is(200)
}

func TestSeveralRangesComeAsParts(t *testing.T) {
	s := serve(t, nil)
	b := noise(100_000, 3)
	path := "/v2/demo/app/blobs/" + string(s.push("demo/app", b))
	a := s.do("GET", path, nil, "Range: bytes=90000-,0-99,500-599").is(206)
	mediaType, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/byteranges" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
		t.Fatalf("%v, %v", a.header, err)
	}
	parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for _, want := range [][2]int{{90_000, 100_000}, {0, 100}, {500, 600}} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Header.Get("Content-Range"); got != "bytes "+strconv.Itoa(want[0])+"-"+strconv.Itoa(want[1]-1)+"/100000" {
			t.Errorf("Content-Range %q, want %v", got, want)
		}
		if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, b[want[0]:want[1]]) {
			t.Errorf("%v: %d other bytes, %v", want, len(got), err)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("a fourth part: %v", err)
	}
	s.do("GET", path, nil, "Range: bytes="+strings.Repeat("0-0,", 300)).fails(416, "SIZE_INVALID", "256")
}

func TestABlobIsPulledUnderConditions(t *testing.T) {
	s := serve(t, nil)
	d := s.push("demo/app", []byte("hello"))
	path, tag := "/v2/demo/app/blobs/"+string(d), `"`+string(d)+`"`
	for _, method := range []string{"GET", "HEAD"} {
		a := s.do(method, path, nil, "If-None-Match: \"x\", W/"+tag).is(304, "ETag: "+tag, "Content-Length: ")
		if len(a.body) > 0 {
			t.Error("304 with a body")
		}
		s.do(method, path, nil, "If-None-Match: *").is(304)
		s.do(method, path, nil, "If-None-Match: \"x\"").is(200)
		s.do(method, path, nil, "If-Match: "+tag).is(200)
		s.do(method, path, nil, "If-Match: \"x\"").is(412)
	}
	s.do("GET", path, nil, "If-Match: \"x\"").fails(412, "DENIED", "If-Match")
	// What is not there is not unchanged.
	s.do("GET", "/v2/other/app/blobs/"+string(d), nil, "If-None-Match: *").fails(404, "BLOB_UNKNOWN")
}

func TestADeletedBlobIsGone(t *testing.T) {
	s := serve(t, nil)
	d := s.push("demo/app", []byte("hello"))
	s.push("demo/other", []byte("hello"))
	path := "/v2/demo/app/blobs/" + string(d)
	s.do("DELETE", path, nil).is(202, "Content-Length: 0")
	s.do("GET", path, nil).fails(404, "BLOB_UNKNOWN", string(d), "demo/app")
	s.do("HEAD", path, nil).is(404)
	s.do("DELETE", path, nil).fails(404, "BLOB_UNKNOWN", string(d))
	s.holds("demo/other", d, []byte("hello"))
	s.push("demo/app", []byte("hello"))
	s.holds("demo/app", d, []byte("hello"))
}

// damage changes the bytes of all data objects, but not their sizes.
func damage(t *testing.T, b bucket.Bucket) {
	t.Helper()
	for info, err := range b.List(t.Context(), "data/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(context.Background(), info.Key, bytes.NewReader(make([]byte, info.Size)), info.Size, bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedBytesAreNeverServedAsWhole(t *testing.T) {
	b := memory.New(memory.Options{})
	s := serve(t, b)
	const small, large = 100_000, 20 << 20
	ds, dl := s.push("demo/app", noise(small, 4)), s.push("demo/app", noise(large, 5))
	damage(t, b)
	s = serve(t, b) // one that has nothing in memory

	// What fits into a buffer is checked before the answer begins.
	s.do("GET", "/v2/demo/app/blobs/"+string(ds), nil).fails(500, "UNKNOWN", "damaged", "push them again").is(500, "ETag: ", "Docker-Content-Digest: ")

	a, err := s.try("GET", "/v2/demo/app/blobs/"+string(dl), nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(a.body) >= large {
		t.Errorf("%d bytes came, and %v", len(a.body), err)
	}
	if line := s.logged.line(t, "blob-pull"); line["level"] != "ERROR" || line["status"] != 500. {
		t.Errorf("log of the small one: %v", line)
	}
	if line := s.logged.line(t, "blob-pull"); line["level"] != "ERROR" || !strings.Contains(line["error"].(string), "damaged") {
		t.Errorf("log of the large one: %v", line)
	}
}

func TestADigestOfEitherAlgorithmIsPulled(t *testing.T) {
	s := serve(t, nil)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, size := range []int{10, 300_000} {
			b := noise(size, uint64(size))
			d := alg.FromBytes(b)
			s.do("POST", "/v2/demo/app/blobs/uploads/?digest="+string(d), b).is(201)
			s.holds("demo/app", d, b)
		}
	}
}
