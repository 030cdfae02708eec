package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/server/registry"
)

// A server is a whole registry over a bucket, and a client of it.
type server struct {
	t      *testing.T
	URL    string
	store  *blobstore.Store
	images *images.Images
	logged *logged
	client *http.Client
	// connect opens a connection for a request that is written by hand.
	connect func() (net.Conn, error)
	close   func() // ends it before the test does, with all that it does in the background
}

// serve starts a registry over b, or over a new bucket in memory.
func serve(t *testing.T, b bucket.Bucket, change ...func(*blobstore.Options, *registry.Options)) *server {
	t.Helper()
	return start(t, overTCP, b, change...)
}

// serveInBubble is serve for a test inside inBubble.
func serveInBubble(t *testing.T, http2 bool, b bucket.Bucket, change ...func(*blobstore.Options, *registry.Options)) *server {
	t.Helper()
	listen := func(s *server, hs *http.Server) func() { return s.listenOnPipes(hs, http2) }
	return start(t, listen, b, change...)
}

// overTCP serves on a port of this machine.
func overTCP(s *server, hs *http.Server) (end func()) {
	l := httptest.NewUnstartedServer(nil)
	l.Config = hs
	l.Start()
	s.URL, s.client = l.URL, l.Client()
	s.connect = func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(s.URL, "http://")) }
	return l.Close
}

func start(t *testing.T, listen func(*server, *http.Server) func(), b bucket.Bucket, change ...func(*blobstore.Options, *registry.Options)) *server {
	t.Helper()
	if b == nil {
		b = memory.New(memory.Options{})
	}
	logs := &logged{lines: make(chan map[string]any, 10_000)}
	logger := slog.New(slog.NewJSONHandler(logs, nil))
	// Deletions wait for the lease to end, and tests delete a lot.
	so := blobstore.Options{Logger: logger, LinkLease: time.Millisecond}
	ro := registry.Options{Logger: logger, GRPCPort: 7070}
	for _, f := range change {
		f(&so, &ro)
	}
	store := blobstore.New(b, so)
	checker := layers.New(store, layers.Options{Logger: logger})
	im := images.New(store, checker, images.Options{Logger: logger})
	s := &server{t: t, store: store, images: im, logged: logs}
	end := listen(s, registry.NewServer(registry.New(store, im, ro), ro))
	s.client.Transport.(*http.Transport).DisableCompression = true
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.close = sync.OnceFunc(func() {
		s.client.CloseIdleConnections()
		end()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := checker.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := store.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.close)
	return s
}

// ref is a reference to an image on this server.
func (s *server) ref(image string) string { return strings.TrimPrefix(s.URL, "http://") + "/" + image }

// logged keeps the lines of a log apart.
type logged struct {
	mu    sync.Mutex
	lines chan map[string]any
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := map[string]any{}
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	select {
	case l.lines <- line:
	default: // a test that reads none of them
	}
	return len(p), nil
}

// line waits for the line of the next request that has this route or this id.
func (l *logged) line(t *testing.T, routeOrID string) map[string]any {
	t.Helper()
	for {
		select {
		case line := <-l.lines:
			if line["msg"] == "request" && (line["route"] == routeOrID || line["request_id"] == routeOrID) {
				return line
			}
		case <-time.After(time.Minute):
			t.Fatal("no log line of " + routeOrID)
		}
	}
}

// An answer is a response that has been read.
type answer struct {
	t      *testing.T
	logged *logged
	what   string
	status int
	header http.Header
	body   []byte
}

// do sends a request; headers are "Name: value".
func (s *server) do(method, path string, body any, headers ...string) answer {
	s.t.Helper()
	a, err := s.try(method, path, body, headers...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (s *server) try(method, path string, body any, headers ...string) (answer, error) {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	}
	target := path
	if strings.HasPrefix(path, "/") {
		target = s.URL + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, r)
	if err != nil {
		return answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{s.t, s.logged, method + " " + path, resp.StatusCode, resp.Header, raw}, err
}

// is checks the status, and headers given as "Name: value".
func (a answer) is(status int, headers ...string) answer {
	a.t.Helper()
	if a.status != status {
		if a.status == 500 {
			a.t.Log(a.logged.line(a.t, a.header.Get("X-Request-Id"))["error"])
		}
		a.t.Fatalf("%s: status %d, want %d: %.500s", a.what, a.status, status, a.body)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if got := a.header.Get(name); got != value {
			a.t.Fatalf("%s: header %s is %q, want %q", a.what, name, got, value)
		}
	}
	return a
}

// fails checks that a is an error of the API whose message has each of words.
func (a answer) fails(status int, code string, words ...string) answer {
	a.t.Helper()
	a.is(status, "Content-Type: application/json")
	e := a.errors()[0]
	if e.Code != code {
		a.t.Fatalf("%s: code %s, want %s: %s", a.what, e.Code, code, e.Message)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			a.t.Fatalf("%s: the message does not have %q: %s", a.what, w, e.Message)
		}
	}
	return a
}

type apiError struct {
	Code, Message string
	Detail        map[string]string
}

func (a answer) errors() []apiError {
	a.t.Helper()
	var e struct{ Errors []apiError }
	if err := json.Unmarshal(a.body, &e); err != nil || len(e.Errors) == 0 {
		a.t.Fatalf("%s: no error of the API (%v): %q", a.what, err, a.body)
	}
	return e.Errors
}

// upload begins an upload and returns its path.
func (s *server) upload(repo string) string {
	s.t.Helper()
	return s.do("POST", "/v2/"+repo+"/blobs/uploads/", nil).is(202).header.Get("Location")
}

// push stores a blob the short way.
func (s *server) push(repo string, b []byte) digest.Digest {
	s.t.Helper()
	d := digest.FromBytes(b)
	s.do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+string(d), b).is(201)
	return d
}

// holds checks that repo has exactly these bytes as d.
func (s *server) holds(repo string, d digest.Digest, b []byte) {
	s.t.Helper()
	a := s.do("GET", "/v2/"+repo+"/blobs/"+string(d), nil).is(200, "Docker-Content-Digest: "+string(d))
	if !bytes.Equal(a.body, b) {
		s.t.Fatalf("%s: %d bytes that differ from the %d pushed", d, len(a.body), len(b))
	}
}

// image pushes an image of one layer under a tag, and returns the digest and
// the bytes of its manifest. Images of different names differ.
func (s *server) image(repo, tag, name string) (digest.Digest, []byte) {
	s.t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux","author":"` + name + `","rootfs":{"type":"layers","diff_ids":[]}}`)
	m := manifest(descriptor(ociConfig, config), "")
	s.push(repo, config)
	a := s.do("PUT", "/v2/"+repo+"/manifests/"+tag, m, "Content-Type: "+ociManifest).is(201)
	return digest.Digest(a.header.Get("Docker-Content-Digest")), m
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
)

func descriptor(mediaType string, b []byte) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromBytes(b), len(b))
}

// manifest is one without layers; more is further fields, each with a comma.
func manifest(config, more string, layers ...string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`,
		ociManifest, config, strings.Join(layers, ","), more)
}

// noise returns n bytes, the same ones for the same seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func query(base string, kv ...string) string {
	u, _ := url.Parse(base)
	q := u.Query()
	for i := 0; i < len(kv); i += 2 {
		q.Add(kv[i], kv[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}
