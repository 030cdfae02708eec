package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/images"
)

const (
	absent    = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	absent512 = "sha512:" + "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
)

// Every bad request gives an error that names the thing and, where there is
// one, the remedy.
func TestBadInput(t *testing.T) {
	s := serve(t, nil)
	config := []byte(`{}`)
	held := s.push("demo/app", config)
	s.image("demo/app", "1", "it")
	loc := s.upload("demo/app")
	tag129 := strings.Repeat("t", 129)
	big := bytes.Repeat([]byte(" "), images.MaxManifestSize+1)
	missing := manifest(descriptor(ociConfig, []byte("not pushed")), "", descriptor("application/vnd.oci.image.layer.v1.tar", []byte("nor this")))

	for name, c := range map[string]struct {
		method, path string
		body         any
		headers      []string
		status       int
		code         string
		words        []string
	}{
		"no such path":                 {"GET", "/v2/demo/app/things/1", nil, nil, 404, "UNSUPPORTED", []string{"/v2/demo/app/things/1", "manifests"}},
		"not the API":                  {"GET", "/index.html", nil, nil, 404, "UNSUPPORTED", []string{"/index.html", "/v2/"}},
		"escaped slash":                {"GET", "/v2/demo%2Fapp/tags/list", nil, nil, 404, "UNSUPPORTED", []string{"write / as it is"}},
		"method":                       {"POST", "/v2/demo/app/manifests/1", nil, nil, 405, "UNSUPPORTED", []string{"POST", "GET, HEAD, PUT, DELETE"}},
		"name with ..":                 {"GET", "/v2/demo/../app/manifests/1", nil, nil, 400, "NAME_INVALID", []string{`"demo/../app"`, "lower-case"}},
		"name in upper case":           {"GET", "/v2/Demo/app/tags/list", nil, nil, 400, "NAME_INVALID", []string{`"Demo/app"`, "lower-case"}},
		"name with //":                 {"POST", "/v2/demo//app/blobs/uploads/", nil, nil, 400, "NAME_INVALID", []string{`"demo//app"`}},
		"no name":                      {"GET", "/v2/manifests/1", nil, nil, 400, "NAME_INVALID", []string{`""`}},
		"long name":                    {"GET", "/v2/" + strings.Repeat("a/", 129) + "manifests/1", nil, nil, 400, "NAME_INVALID", []string{"255"}},
		"unknown repository, tags":     {"GET", "/v2/demo/none/tags/list", nil, nil, 404, "NAME_UNKNOWN", []string{"demo/none"}},
		"unknown repository, manifest": {"GET", "/v2/demo/none/manifests/1", nil, nil, 404, "MANIFEST_UNKNOWN", []string{"demo/none"}},

		"tag of 129 characters":        {"GET", "/v2/demo/app/manifests/" + tag129, nil, nil, 400, "MANIFEST_INVALID", []string{"129", "128"}},
		"push to such a tag":           {"PUT", "/v2/demo/app/manifests/" + tag129, "{}", nil, 400, "MANIFEST_INVALID", []string{"129", "128"}},
		"tag with a bad character":     {"GET", "/v2/demo/app/manifests/a%20b", nil, nil, 400, "MANIFEST_INVALID", []string{`"a b"`, "letters"}},
		"unknown tag":                  {"GET", "/v2/demo/app/manifests/2", nil, nil, 404, "MANIFEST_UNKNOWN", []string{"2"}},
		"unknown manifest":             {"GET", "/v2/demo/app/manifests/" + absent, nil, nil, 404, "MANIFEST_UNKNOWN", []string{absent}},
		"delete an unknown tag":        {"DELETE", "/v2/demo/app/manifests/2", nil, nil, 404, "MANIFEST_UNKNOWN", []string{"2"}},
		"delete an unknown manifest":   {"DELETE", "/v2/demo/app/manifests/" + absent, nil, nil, 404, "MANIFEST_UNKNOWN", []string{absent}},
		"digest too short":             {"GET", "/v2/demo/app/manifests/sha256:baddigeststring", nil, nil, 400, "DIGEST_INVALID", []string{"sha256:baddigeststring"}},
		"digest of another algorithm":  {"GET", "/v2/demo/app/manifests/md5:d41d8cd98f00b204e9800998ecf8427e", nil, nil, 400, "DIGEST_INVALID", []string{"md5", "sha256 or sha512"}},
		"manifest of over 4 MiB":       {"PUT", "/v2/demo/app/manifests/2", big, nil, 413, "SIZE_INVALID", []string{"4194305", "4194304", "blob"}},
		"such a one of unknown length": {"PUT", "/v2/demo/app/manifests/2", unsized{bytes.NewReader(big)}, nil, 413, "SIZE_INVALID", []string{"4194304", "blob"}},
		"manifest that is no JSON":     {"PUT", "/v2/demo/app/manifests/2", "hello", []string{"Content-Type: " + ociManifest}, 400, "MANIFEST_INVALID", nil},
		"no manifest at all":           {"PUT", "/v2/demo/app/manifests/2", nil, []string{"Content-Type: " + ociManifest}, 400, "MANIFEST_INVALID", nil},
		"manifest of an unknown type":  {"PUT", "/v2/demo/app/manifests/2", "{}", []string{"Content-Type: text/plain"}, 400, "MANIFEST_INVALID", []string{"text/plain"}},
		"garbled media type":           {"PUT", "/v2/demo/app/manifests/2", "{}", []string{"Content-Type: a/b/c"}, 400, "UNSUPPORTED", []string{"a/b/c"}},
		"manifest that names what is not there": {"PUT", "/v2/demo/app/manifests/2", missing, []string{"Content-Type: " + ociManifest},
			400, "MANIFEST_BLOB_UNKNOWN", []string{"sha256:", "push what the manifest names"}},
		"manifest under a wrong digest": {"PUT", "/v2/demo/app/manifests/" + absent, manifest(descriptor(ociConfig, config), ""), []string{"Content-Type: " + ociManifest},
			400, "DIGEST_INVALID", []string{absent}},
		"too many tags":     {"PUT", "/v2/demo/app/manifests/" + absent + "?tag=a" + strings.Repeat("&tag=b", images.MaxTags), "{}", nil, 414, "UNSUPPORTED", []string{"10"}},
		"bad tag parameter": {"PUT", "/v2/demo/app/manifests/" + absent + "?tag=-", "{}", nil, 400, "MANIFEST_INVALID", []string{`"-"`}},

		"unknown blob":                  {"GET", "/v2/demo/app/blobs/" + absent, nil, nil, 404, "BLOB_UNKNOWN", []string{absent, "demo/app"}},
		"blob of another repository":    {"GET", "/v2/demo/other/blobs/" + string(held), nil, nil, 404, "BLOB_UNKNOWN", []string{string(held), "demo/other"}},
		"delete an unknown blob":        {"DELETE", "/v2/demo/app/blobs/" + absent, nil, nil, 404, "BLOB_UNKNOWN", []string{absent}},
		"blob by no digest":             {"GET", "/v2/demo/app/blobs/latest", nil, nil, 400, "DIGEST_INVALID", []string{"latest"}},
		"blob of another algorithm":     {"GET", "/v2/demo/app/blobs/sha384:" + strings.Repeat("0", 96), nil, nil, 400, "DIGEST_INVALID", []string{"sha384", "sha512"}},
		"referrers of no digest":        {"GET", "/v2/demo/app/referrers/1", nil, nil, 400, "DIGEST_INVALID", []string{`"1"`}},
		"unknown upload":                {"PATCH", "/v2/demo/app/blobs/uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", nil, 404, "BLOB_UPLOAD_UNKNOWN", []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "start a new one"}},
		"no upload id":                  {"GET", "/v2/demo/app/blobs/uploads/xyz", nil, nil, 404, "BLOB_UPLOAD_UNKNOWN", []string{"xyz"}},
		"upload algorithm":              {"POST", "/v2/demo/app/blobs/uploads/?digest-algorithm=md5", nil, nil, 400, "DIGEST_INVALID", []string{"md5"}},
		"upload digest's algorithm":     {"POST", "/v2/demo/app/blobs/uploads/?digest=md5:d41d8cd98f00b204e9800998ecf8427e", "", nil, 400, "DIGEST_INVALID", []string{"md5", "sha512"}},
		"wrong digest, POST":            {"POST", "/v2/demo/app/blobs/uploads/?digest=" + absent, "hello", nil, 400, "DIGEST_INVALID", []string{absent, string(digest.FromString("hello")), "again"}},
		"wrong sha512 digest, POST":     {"POST", "/v2/demo/app/blobs/uploads/?digest=" + absent512, "hello", nil, 400, "DIGEST_INVALID", []string{absent512}},
		"PUT without digest":            {"PUT", loc, "hello", nil, 400, "DIGEST_INVALID", []string{"digest", "missing"}},
		"PUT with half a digest":        {"PUT", query(loc, "digest", "sha256:12"), "hello", nil, 400, "DIGEST_INVALID", []string{"sha256:12"}},
		"Content-Range is none":         {"PATCH", loc, "hello", []string{"Content-Range: hello"}, 400, "UNSUPPORTED", []string{"hello", "FIRST-LAST"}},
		"Content-Range and Length":      {"PATCH", loc, "hello", []string{"Content-Range: 0-5"}, 400, "SIZE_INVALID", []string{"0-5", "5"}},
		"Content-Range, shorter stream": {"PATCH", loc, unsized{strings.NewReader("")}, []string{"Content-Range: 0-5"}, 400, "SIZE_INVALID", []string{"0-5", "shorter"}},
		"tags, n":                       {"GET", "/v2/demo/app/tags/list?n=x", nil, nil, 400, "UNSUPPORTED", []string{`"x"`, "number"}},
		"tags, negative n":              {"GET", "/v2/demo/app/tags/list?n=-1", nil, nil, 400, "UNSUPPORTED", []string{`"-1"`}},
		"tags, last":                    {"GET", "/v2/demo/app/tags/list?last=..", nil, nil, 400, "MANIFEST_INVALID", []string{`".."`}},
		"catalog, last":                 {"GET", "/v2/_catalog?last=..", nil, nil, 400, "NAME_INVALID", []string{`".."`}},
		"push under two conditions":     {"PUT", "/v2/demo/app/manifests/2", "{}", []string{"If-Match: \"x\"", "If-None-Match: *"}, 400, "UNSUPPORTED", []string{"one"}},
		"push under a garbled one":      {"PUT", "/v2/demo/app/manifests/2", "{}", []string{"If-Match: x"}, 400, "UNSUPPORTED", []string{"ETag"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			s.do(c.method, c.path, c.body, c.headers...).fails(c.status, c.code, c.words...)
			if c.method == http.MethodGet && !strings.Contains(c.path, "/uploads/") {
				if a := s.do("HEAD", c.path, nil, c.headers...).is(c.status); len(a.body) > 0 {
					t.Errorf("HEAD has a body: %s", a.body)
				}
			}
		})
	}

	t.Run("nothing of it is left", func(t *testing.T) {
		s.do("GET", "/v2/demo/app/tags/list", nil).is(200)
		if a := s.do("GET", "/v2/demo/app/tags/list", nil); string(a.body) != `{"name":"demo/app","tags":["1"]}` {
			t.Errorf("%s", a.body)
		}
		s.do("GET", "/v2/demo/app/blobs/"+string(digest.FromString("hello")), nil).fails(404, "BLOB_UNKNOWN")
		s.do("GET", loc, nil).is(204, "Upload-Offset: 0")
	})
}

func TestAWrongDigestEndsTheUpload(t *testing.T) {
	s := serve(t, nil)
	for _, size := range []int{5, 100_000, 9 << 20} {
		b := noise(size, 7)
		loc := s.upload("demo/app")
		s.do("PATCH", loc, b).is(202)
		s.do("PUT", query(loc, "digest", absent), nil).fails(400, "DIGEST_INVALID", absent, string(digest.FromBytes(b)), "again")
		s.do("GET", loc, nil).fails(404, "BLOB_UPLOAD_UNKNOWN")
		s.do("GET", "/v2/demo/app/blobs/"+absent, nil).fails(404, "BLOB_UNKNOWN")
	}
}

func TestABodyThatIsNotAsLongAsItsRange(t *testing.T) {
	s := serve(t, nil)
	loc := s.upload("demo/app")
	s.do("PATCH", loc, unsized{strings.NewReader("hello")}, "Content-Range: 0-9").
		fails(400, "SIZE_INVALID", "0-9", "5 bytes shorter").is(400, "Upload-Offset: 5", "Location: "+reached(loc, 5))
	// What came is there, and the rest may follow; what is too much is not taken.
	s.do("PATCH", loc, unsized{strings.NewReader(" world!!!")}, "Content-Range: 5-10").
		fails(400, "SIZE_INVALID", "5-10", "longer").is(400, "Upload-Offset: 11")
	d := digest.FromString("hello world")
	s.do("PUT", query(loc, "digest", string(d)), nil).is(201)
	s.holds("demo/app", d, []byte("hello world"))
}

func TestAFullBucketSaysSo(t *testing.T) {
	s := serve(t, memory.New(memory.Options{Capacity: 8 << 20}))
	loc := s.upload("demo/app")
	s.do("PATCH", loc, noise(12<<20, 8)).fails(507, "UNAVAILABLE", "full", "free space").is(507, "Retry-After: ")
	s.do("GET", "/v2/demo/app/blobs/"+absent, nil).fails(404, "BLOB_UNKNOWN")
	if line := s.logged.line(t, "upload-append"); line["level"] != "ERROR" || line["status"] != 507. {
		t.Errorf("log: %v", line)
	}
}

func TestAllMethodsThatAreNotAllowedSayWhichAre(t *testing.T) {
	s := serve(t, nil)
	for path, allow := range map[string]string{
		"/v2/":                      "GET, HEAD",
		"/v2/_catalog":              "GET, HEAD",
		"/v2/a/blobs/" + absent:     "GET, HEAD, DELETE",
		"/v2/a/blobs/uploads/":      "POST",
		"/v2/a/blobs/uploads/1":     "GET, PATCH, PUT, DELETE",
		"/v2/a/manifests/1":         "GET, HEAD, PUT, DELETE",
		"/v2/a/tags/list":           "GET, HEAD",
		"/v2/a/referrers/" + absent: "GET, HEAD",
	} {
		for _, method := range []string{"OPTIONS", "TRACE", "PROPFIND"} {
			s.do(method, path, nil).fails(405, "UNSUPPORTED", method, allow).is(405, "Allow: "+allow)
		}
	}
}

func TestAHeaderThatIsTooLong(t *testing.T) {
	s := serve(t, nil)
	s.do("GET", "/v2/", nil, "X-Long: "+strings.Repeat("x", 128<<10)).is(431)
	s.do("GET", "/v2/", nil, fmt.Sprintf("X-Request-Id: %s", strings.Repeat("x", 200))).is(200)
}
