package servers

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// A Throttle stands before an S3 server and answers what S3 answers when it has
// too much to do: 503 SlowDown, with MinIO's Retry-After of a minute.
type Throttle struct {
	// URL is that of the bucket behind it.
	URL string

	pass http.Handler

	mu      sync.Mutex
	all     bool
	first   int            // of each call
	seen    map[string]int // "METHOD path": calls so far
	refused int
}

// Throttled returns a Throttle before the bucket of this URL, which lets
// everything pass until it is told otherwise. It ends with the test.
func Throttled(t testing.TB, bucketURL string) *Throttle {
	t.Helper()
	th := &Throttle{seen: map[string]int{}, pass: passTo(t, bucketURL)}
	th.URL = inFront(t, bucketURL, th)
	return th
}

// passTo passes requests on to the server of a bucket.
func passTo(t testing.TB, bucketURL string) *httputil.ReverseProxy {
	t.Helper()
	u, err := url.Parse(bucketURL)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(u.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.Host = r.In.Host // it is signed
	}}
}

// inFront has h answer in place of the server of a bucket, until the test ends,
// and returns the bucket's URL by way of it.
func inFront(t testing.TB, bucketURL string, h http.Handler) string {
	t.Helper()
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	return withEndpoint(t, bucketURL, front.URL)
}

// Endpoint is the URL of the Throttle itself.
func (t *Throttle) Endpoint() string { return t.parsed().Query().Get("endpoint") }

// Bucket is the name of the bucket behind it.
func (t *Throttle) Bucket() string { return t.parsed().Host }

func (t *Throttle) parsed() *url.URL {
	u, err := url.Parse(t.URL)
	if err != nil { // cannot happen: Throttled has made it
		panic(err)
	}
	return u
}

// Pass lets everything pass.
func (t *Throttle) Pass() { t.set(false, 0) }

// RefuseAll refuses every call.
func (t *Throttle) RefuseAll() { t.set(true, 0) }

// RefuseFirst refuses the first n calls of each method to each object.
func (t *Throttle) RefuseFirst(n int) { t.set(false, n) }

func (t *Throttle) set(all bool, first int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all, t.first, t.seen, t.refused = all, first, map[string]int{}, 0
}

// Refused is how many calls have been refused since it was last told what to do.
func (t *Throttle) Refused() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

func (t *Throttle) refuses(r *http.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := r.Method + " " + r.URL.Path
	t.seen[what]++
	refused := t.all || t.seen[what] <= t.first
	if refused {
		t.refused++
	}
	return refused
}

// ServeHTTP implements http.Handler.
func (t *Throttle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !t.refuses(r) {
		t.pass.ServeHTTP(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Retry-After", "60")
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>1</RequestId></Error>`)
	}
}
