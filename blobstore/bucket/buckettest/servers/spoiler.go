package servers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"sync"
	"testing"
)

// A Harm is what may be done to a request or its answer.
type Harm int

// The harms that there are.
const (
	NoHarm Harm = iota
	// Fail answers 500 InternalError, and Busy 503 SlowDown: nothing is done.
	Fail
	Busy
	// LoseAnswer has the request done, and hangs up instead of answering.
	LoseAnswer
	// Truncate hangs up in the middle of the answer's body, whose length has been
	// announced.
	Truncate
	// Flip flips a bit in the middle of the answer's body.
	Flip
)

// A Spoiler stands before an S3 server and harms what a test chooses.
type Spoiler struct {
	// URL is that of the bucket behind it.
	URL string

	pass *httputil.ReverseProxy

	mu     sync.Mutex
	choose func(r *http.Request) Harm
	done   map[Harm]int
}

// Spoiled returns a Spoiler before the bucket of this URL, which harms nothing
// until it is told. It ends with the test.
func Spoiled(t testing.TB, bucketURL string) *Spoiler {
	t.Helper()
	s := &Spoiler{pass: passTo(t, bucketURL), done: map[Harm]int{}}
	s.pass.ModifyResponse = s.spoil
	s.pass.ErrorLog = log.New(io.Discard, "", 0)
	s.URL = inFront(t, bucketURL, s)
	return s
}

// Choose has f choose what is done to each request, nil: nothing. It is called
// by several goroutines, one at a time.
func (s *Spoiler) Choose(f func(r *http.Request) Harm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.choose = f
}

// Done is how often a harm has been done. Answers without a body are neither
// truncated nor flipped.
func (s *Spoiler) Done(h Harm) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done[h]
}

func (s *Spoiler) did(h Harm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[h]++
}

type harmKey struct{}

// ServeHTTP implements http.Handler.
func (s *Spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := NoHarm
	s.mu.Lock()
	if s.choose != nil {
		h = s.choose(r)
	}
	s.mu.Unlock()
	switch h {
	case Fail, Busy:
		s.did(h)
		refuse(w, r, h)
	case LoseAnswer:
		s.pass.ServeHTTP(httptest.NewRecorder(), r)
		s.did(h)
		panic(http.ErrAbortHandler) // how a handler hangs up
	default:
		s.pass.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), harmKey{}, h)))
	}
}

func refuse(w http.ResponseWriter, r *http.Request, h Harm) {
	_, _ = io.Copy(io.Discard, r.Body)
	status, code := http.StatusInternalServerError, "InternalError"
	if h == Busy {
		status, code = http.StatusServiceUnavailable, "SlowDown"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>%s</Code><Message>Says the test.</Message><RequestId>1</RequestId></Error>`, code)
	}
}

// spoil harms the body of an answer.
func (s *Spoiler) spoil(resp *http.Response) error {
	h, _ := resp.Request.Context().Value(harmKey{}).(Harm)
	size, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64)
	if h != Truncate && h != Flip || resp.Request.Method != http.MethodGet || err != nil || size < 2 || resp.StatusCode > 299 {
		return nil
	}
	s.did(h)
	resp.Body = &spoiled{ReadCloser: resp.Body, left: size / 2, harm: h}
	return nil
}

// spoiled is a body with something wrong in the middle.
type spoiled struct {
	io.ReadCloser
	left int64 // until then
	harm Harm
}

func (b *spoiled) Read(p []byte) (int, error) {
	if b.harm == Truncate {
		if b.left == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.harm == Flip && b.left >= 0 && b.left < int64(n) {
		p[b.left] ^= 1
	}
	b.left -= int64(n)
	return n, err
}
