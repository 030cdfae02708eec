package registry_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// unsized hides the length of a body: it goes out in chunks.
type unsized struct{ io.Reader }

func TestAnUploadInEveryWay(t *testing.T) {
	s := serve(t, nil)
	const repo = "demo/app"
	full := func(seed uint64, size int) ([]byte, digest.Digest) {
		b := noise(size, seed)
		return b, digest.FromBytes(b)
	}
	n := uint64(10)
	for _, size := range []int{1, 5000, 300_000, 12 << 20} {
		for name, way := range map[string]func(b []byte, d digest.Digest) answer{
			"POST with all": func(b []byte, d digest.Digest) answer {
				return s.do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+string(d), b)
			},
			"POST with all, unsized, no slash": func(b []byte, d digest.Digest) answer {
				return s.do("POST", "/v2/"+repo+"/blobs/uploads?digest="+string(d), unsized{bytes.NewReader(b)})
			},
			"PUT with all": func(b []byte, d digest.Digest) answer {
				return s.do("PUT", query(s.upload(repo), "digest", string(d)), b)
			},
			"PUT with all, unsized": func(b []byte, d digest.Digest) answer {
				return s.do("PUT", query(s.upload(repo), "digest", string(d)), unsized{bytes.NewReader(b)})
			},
			"PATCH streams, PUT ends": func(b []byte, d digest.Digest) answer {
				loc := s.upload(repo)
				a := s.do("PATCH", loc, unsized{bytes.NewReader(b)}).is(202, "Range: 0-"+strconv.Itoa(len(b)-1), "Upload-Offset: "+strconv.Itoa(len(b)))
				return s.do("PUT", query(a.header.Get("Location"), "digest", string(d)), nil)
			},
			"PATCH in chunks, PUT the last": func(b []byte, d digest.Digest) answer {
				loc, at, step := s.upload(repo), 0, len(b)/3+1
				for ; len(b)-at > step; at += step {
					a := s.do("PATCH", loc, b[at:at+step], "Content-Range: "+strconv.Itoa(at)+"-"+strconv.Itoa(at+step-1)).
						is(202, "Range: 0-"+strconv.Itoa(at+step-1))
					loc = a.header.Get("Location")
				}
				return s.do("PUT", query(loc, "digest", string(d)), b[at:], "Content-Range: "+strconv.Itoa(at)+"-"+strconv.Itoa(len(b)-1))
			},
			"PATCH in chunks of unknown length": func(b []byte, d digest.Digest) answer {
				loc, half := s.upload(repo), (len(b)+1)/2
				s.do("PATCH", loc, unsized{bytes.NewReader(b[:half])}, "Content-Range: 0-"+strconv.Itoa(half-1)).is(202)
				return s.do("PUT", query(loc, "digest", string(d)), unsized{bytes.NewReader(b[half:])})
			},
			"under another algorithm than was said": func(b []byte, _ digest.Digest) answer {
				loc := s.upload(repo)
				s.do("PATCH", loc, b).is(202)
				return s.do("PUT", query(loc, "digest", string(digest.SHA512.FromBytes(b))), nil)
			},
			"under the algorithm that was said": func(b []byte, _ digest.Digest) answer {
				loc := s.do("POST", "/v2/"+repo+"/blobs/uploads/?digest-algorithm=sha512", nil).is(202).header.Get("Location")
				s.do("PATCH", loc, b).is(202)
				return s.do("PUT", query(loc, "digest", string(digest.SHA512.FromBytes(b))), nil)
			},
		} {
			n++
			b, d := full(n, size)
			if strings.HasPrefix(name, "under ") {
				d = digest.SHA512.FromBytes(b)
			}
			a := way(b, d)
			if a.status != 201 {
				t.Fatalf("%s, %d bytes: %d %s", name, size, a.status, a.body)
			}
			a.is(201, "Docker-Content-Digest: "+string(d), "Location: /v2/"+repo+"/blobs/"+string(d), "Content-Length: 0")
			s.holds(repo, d, b)
		}
	}
}

func TestTheStatusOfAnUpload(t *testing.T) {
	s := serve(t, nil)
	a := s.do("POST", "/v2/demo/app/blobs/uploads/", nil).is(202, "Range: 0-0", "Upload-Offset: 0", "Content-Length: 0")
	loc, id := a.header.Get("Location"), a.header.Get("Docker-Upload-UUID")
	if loc != "/v2/demo/app/blobs/uploads/"+id+"?offset=0" {
		t.Errorf("Location %q, id %q", loc, id)
	}
	same := "Docker-Upload-UUID: " + id
	s.do("GET", loc, nil).is(204, same, "Location: "+loc, "Range: 0-0", "Upload-Offset: 0")
	s.do("PATCH", loc, "x").is(202, same, "Location: "+reached(loc, 1), "Range: 0-0", "Upload-Offset: 1")
	s.do("PATCH", loc, "yz").is(202, same, "Location: "+reached(loc, 3), "Range: 0-2")
	s.do("GET", loc, nil).is(204, same, "Location: "+reached(loc, 3), "Range: 0-2", "Upload-Offset: 3")
	s.do("DELETE", loc, nil).is(204)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		s.do(method, loc, nil).fails(404, "BLOB_UPLOAD_UNKNOWN", id, "start a new one")
	}
	s.do("PUT", query(loc, "digest", string(digest.FromString("xyz"))), nil).fails(404, "BLOB_UPLOAD_UNKNOWN", id)
}

// reached is the Location of an upload that has n bytes.
func reached(loc string, n int) string {
	path, _, _ := strings.Cut(loc, "?")
	return path + "?offset=" + strconv.Itoa(n)
}

func TestAChunkThatDoesNotFollow(t *testing.T) {
	s := serve(t, nil)
	loc := s.upload("demo/app")
	b := noise(3000, 6)
	d := digest.FromBytes(b)
	s.do("PATCH", loc, b[:1000], "Content-Range: 0-999").is(202)
	for _, r := range [][2]int{{0, 999}, {500, 1499}, {1001, 2000}, {2000, 2999}} {
		header := strconv.Itoa(r[0]) + "-" + strconv.Itoa(r[1])
		s.do("PATCH", loc, b[r[0]:r[1]+1], "Content-Range: "+header).
			fails(416, "BLOB_UPLOAD_INVALID", "offset does not follow", "go on at 1000").
			is(416, "Range: 0-999", "Location: "+reached(loc, 1000), "Upload-Offset: 1000")
		s.do("PUT", query(loc, "digest", string(d)), b[r[0]:r[1]+1], "Content-Range: "+header).
			fails(416, "BLOB_UPLOAD_INVALID").is(416, "Range: 0-999", "Location: "+reached(loc, 1000))
	}
	s.do("GET", loc, nil).is(204, "Range: 0-999")
	s.do("PUT", query(loc, "digest", string(d)), b[1000:], "Content-Range: 1000-2999").is(201)
	s.holds("demo/app", d, b)
}

// In a bubble, since what has ended is forgotten after a while.
func TestAnUploadGoesOnAtAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{})
		one, two := serveInBubble(t, false, b), serveInBubble(t, false, b)
		for i, cut := range []int{1, 40_000, 200_000, 9 << 20} {
			data := noise(cut+11<<20, uint64(20+i))
			d := digest.FromBytes(data)
			loc := one.upload("demo/app")
			one.do("PATCH", loc, data[:cut]).is(202)
			two.do("GET", loc, nil).is(204, "Upload-Offset: "+strconv.Itoa(cut))
			mid := cut + 1<<20
			two.do("PATCH", loc, data[cut:mid], "Content-Range: "+strconv.Itoa(cut)+"-"+strconv.Itoa(mid-1)).is(202)
			// The first is not up to date, and finds out.
			one.do("PATCH", loc, data[cut:mid], "Content-Range: "+strconv.Itoa(cut)+"-"+strconv.Itoa(mid-1)).
				fails(416, "BLOB_UPLOAD_INVALID").is(416, "Upload-Offset: "+strconv.Itoa(mid))
			one.do("PUT", query(loc, "digest", string(d)), data[mid:], "Content-Range: "+strconv.Itoa(mid)+"-"+strconv.Itoa(len(data)-1)).is(201)
			two.holds("demo/app", d, data)
			// A client that lost the answer may ask again, anywhere.
			two.do("GET", loc, nil).is(204, "Upload-Offset: "+strconv.Itoa(len(data)))
			two.do("PUT", query(loc, "digest", string(d)), nil).is(201)
			two.holds("demo/app", d, data)
		}
	})
}

// A client behind a load balancer says of no chunk where it belongs, and follows
// each Location: every server appends to what another has taken.
func TestAnUploadGoesBackAndForth(t *testing.T) {
	b := memory.New(memory.Options{})
	two := []*server{serve(t, b), serve(t, b)}
	for i, piece := range []int{10, 40_000, 200_000, 9 << 20} {
		data := noise(4*piece, uint64(70+i))
		d := digest.FromBytes(data)
		loc := two[0].upload("demo/app")
		for n := range 3 {
			loc = two[n%2].do("PATCH", loc, data[n*piece:(n+1)*piece]).is(202, "Upload-Offset: "+strconv.Itoa((n+1)*piece)).header.Get("Location")
		}
		two[1].do("PUT", query(loc, "digest", string(d)), data[3*piece:]).is(201)
		two[0].holds("demo/app", d, data)
	}
}

// What a client makes of the parameter does no harm.
func TestAnOffsetThatIsNone(t *testing.T) {
	s := serve(t, nil)
	for _, v := range []string{"", "-1", "x", "1e3", "99999999999999999999"} {
		loc, _, _ := strings.Cut(s.upload("demo/app"), "?")
		loc = query(loc, "offset", v)
		s.do("PATCH", loc, "hel").is(202, "Upload-Offset: 3")
		s.do("PUT", query(loc, "digest", string(digest.FromString("hello"))), "lo").is(201)
	}
}

func TestAMountNeedsARepositoryThatHoldsTheBlob(t *testing.T) {
	s := serve(t, nil)
	b := []byte("shared")
	d := s.push("demo/one", b)
	mount := func(repo, from string) answer {
		path := "/v2/" + repo + "/blobs/uploads/?mount=" + string(d)
		if from != "" {
			path += "&from=" + from
		}
		return s.do("POST", path, nil)
	}
	mount("demo/two", "demo/one").is(201, "Docker-Content-Digest: "+string(d), "Location: /v2/demo/two/blobs/"+string(d))
	s.holds("demo/two", d, b)

	// From a repository that does not hold it an upload begins, which then takes
	// the bytes.
	a := mount("demo/three", "demo/none").is(202)
	s.do("GET", "/v2/demo/three/blobs/"+string(d), nil).fails(404, "BLOB_UNKNOWN")
	s.do("DELETE", a.header.Get("Location"), nil).is(204)
	loc := mount("demo/three", "demo/none").is(202).header.Get("Location")
	s.do("PUT", query(loc, "digest", string(d)), b).is(201)
	s.holds("demo/three", d, b)
	// With none named, from where it was uploaded.
	mount("demo/five", "").is(201, "Location: /v2/demo/five/blobs/"+string(d))
	s.holds("demo/five", d, b)
	s.do("DELETE", "/v2/demo/one/blobs/"+string(d), nil).is(202)
	s.do("DELETE", mount("demo/six", "").is(202).header.Get("Location"), nil).is(204)
	// What the repository has already needs no other.
	mount("demo/three", "").is(201)
	// A mount that fails goes on with other bytes, too.
	other := []byte("other")
	loc = mount("demo/four", "demo/none").is(202).header.Get("Location")
	s.do("PUT", query(loc, "digest", string(digest.FromBytes(other))), other).is(201)
	s.holds("demo/four", digest.FromBytes(other), other)

	s.do("POST", "/v2/demo/four/blobs/uploads/?mount=sha256:1&from=demo/one", nil).fails(400, "DIGEST_INVALID", "sha256:1")
	s.do("POST", "/v2/demo/four/blobs/uploads/?mount="+string(d)+"&from=Demo", nil).fails(400, "NAME_INVALID", "Demo")
}

func TestAnUploadBelongsToItsRepository(t *testing.T) {
	s := serve(t, nil)
	loc := s.upload("demo/app")
	s.do("GET", strings.Replace(loc, "demo/app", "demo/other", 1), nil).fails(404, "BLOB_UPLOAD_UNKNOWN")
}
