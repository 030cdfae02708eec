package registry_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/server/registry"
)

func redirecting(_ *blobstore.Options, o *registry.Options) { o.Redirect = true }

func TestBlobsAreFetchedFromTheBucket(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"MinIO": servers.MinIO, "versitygw": servers.VersityGW} {
		t.Run(name, func(t *testing.T) {
			b, err := open.Bucket(t.Context(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, b, redirecting)
			for i, size := range []int{70_000, 9 << 20} { // one piece, and parts
				data := noise(size, uint64(i))
				d := s.push("demo/app", data)
				path := "/v2/demo/app/blobs/" + string(d)
				fetch := func(headers ...string) (int, []byte) {
					t.Helper()
					a := s.do("GET", path, nil, headers...).is(307, "Docker-Content-Digest: "+string(d), "Cache-Control: no-store", "Content-Length: 0")
					req, err := http.NewRequestWithContext(t.Context(), "GET", a.header.Get("Location"), nil)
					if err != nil {
						t.Fatal(err)
					}
					if len(headers) > 0 {
						req.Header.Set("Range", headers[0][len("Range: "):])
					}
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					return resp.StatusCode, got
				}
				if code, got := fetch(); code != 200 || !bytes.Equal(got, data) {
					t.Errorf("%d, %d bytes of %d", code, len(got), size)
				}
				if code, got := fetch("Range: bytes=10-19"); code != 206 || !bytes.Equal(got, data[10:20]) {
					t.Errorf("a range: %d, %q", code, got)
				}
				notTheirs(t, s, path, d)
			}
		})
	}
}

// notTheirs checks what the bucket would answer otherwise than this server.
func notTheirs(t *testing.T, s *server, path string, d digest.Digest) {
	t.Helper()
	tag := `"` + string(d) + `"`
	s.do("HEAD", path, nil).is(200, "Docker-Content-Digest: "+string(d))
	s.do("GET", path, nil, "Range: bytes=0-1,10-19").is(206)
	s.do("GET", path, nil, "Range: bytes=0-1", "If-Range: "+tag).is(206)
	s.do("GET", path, nil, "If-None-Match: "+tag).is(304)
	s.do("GET", path, nil, "If-None-Match: \"other\"").is(307)
	s.do("GET", path, nil, "If-Match: \"other\"").is(412)
	// Being sent to the bucket is a read like any other.
	s.do("GET", "/v2/other/app/blobs/"+string(d), nil).fails(404, "BLOB_UNKNOWN")
}

func TestWhatIsServedHereAllTheSame(t *testing.T) {
	b, err := open.Bucket(t.Context(), servers.MinIO(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bucket   bucket.Bucket
		size     int
		redirect bool
	}{
		"inside its record":           {b, 60_000, true},
		"empty":                       {b, 0, true},
		"redirecting is off":          {b, 100_000, false},
		"a bucket without presigning": {memory.New(memory.Options{}), 100_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.bucket, func(_ *blobstore.Options, o *registry.Options) { o.Redirect = c.redirect })
			data := noise(c.size, 3)
			s.holds("demo/app", s.push("demo/app", data), data)
		})
	}
}
