package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// A proxy stands between a bucket and a real server.
type proxy struct {
	http.Handler
	mu     sync.Mutex
	calls  []string // "METHOD /path?query" so far
	broken func(p *proxy, w http.ResponseWriter, r *http.Request) bool
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.calls = append(p.calls, r.Method+" "+r.URL.RequestURI())
	broken := p.broken
	p.mu.Unlock()
	if broken == nil || !broken(p, w, r) {
		p.Handler.ServeHTTP(w, r)
	}
}

// breakNext lets f have the next request. When f returns false it goes on.
func (p *proxy) breakNext(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
	p.broken = func(p *proxy, w http.ResponseWriter, r *http.Request) bool {
		p.mu.Lock()
		p.broken = nil
		p.mu.Unlock()
		return f(w, r)
	}
}

func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

func (p *proxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// through returns a bucket on a real server, with a proxy before it.
func through(t *testing.T, raw string) (bucket.Bucket, *proxy) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(u.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.Host = r.In.Host // it is signed
	}}}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	query := u.Query()
	query.Set("endpoint", front.URL)
	u.RawQuery = query.Encode()
	b := openTest(t, u.String(), "")
	p.reset()
	return b, p
}

var realServers = map[string]func(testing.TB) string{"MinIO": servers.MinIO, "VersityGW": servers.VersityGW}

func TestEveryOperationIsOneCall(t *testing.T) {
	t.Parallel()
	b, p := through(t, servers.VersityGW(t))
	ctx := t.Context()
	var info bucket.Info
	var id string
	var part bucket.Part
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"put", func() error { _, err := b.Put(ctx, "a", strings.NewReader("data"), 4, bucket.Condition{}); return err }},
		{"put an empty object", func() error { _, err := b.Put(ctx, "e", strings.NewReader(""), 0, bucket.Condition{}); return err }},
		{"put in time", func() (err error) {
			info, err = b.Put(ctx, "b", strings.NewReader("data"), 4, bucket.Condition{IfAbsent: true, NotAfter: farOff()})
			return err
		}},
		{"get", func() error { return drain(b.Get(ctx, "a", 0, -1)) }},
		{"get a range", func() error { return drain(b.Get(ctx, "a", 1, 2)) }},
		{"stat", func() error { _, err := b.Stat(ctx, "a"); return err }},
		{"list", func() error {
			for _, err := range b.List(ctx, "", "") {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"clock", func() error { _, err := b.Clock(ctx); return err }},
		{"delete if", func() error { return b.(bucket.ConditionalDeleter).DeleteIf(ctx, "b", info.ETag) }},
		{"delete", func() error { return b.Delete(ctx, "a", "b", "c") }},
		{"create upload", func() (err error) { id, err = b.CreateMultipart(ctx, "m"); return err }},
		{"put part", func() (err error) { part, err = b.PutPart(ctx, "m", id, 1, strings.NewReader("data"), 4); return err }},
		{"complete upload", func() error {
			_, err := b.CompleteMultipart(ctx, "m", id, []bucket.Part{part}, bucket.Condition{IfAbsent: true})
			return err
		}},
		{"abort upload", func() error { return b.AbortMultipart(ctx, "m", id) }},
	} {
		p.reset()
		if err := op.do(); err != nil {
			t.Errorf("%s: %v", op.name, err)
		}
		if calls := p.seen(); len(calls) != 1 {
			t.Errorf("%s: %d calls: %q", op.name, len(calls), calls)
		}
	}
	p.reset()
	if _, err := b.(bucket.Presigner).PresignGet(ctx, "a", 1e10); err != nil || len(p.seen()) != 0 {
		t.Errorf("presign: %v, calls %q", err, p.seen())
	}
}

func drain(r io.ReadCloser, _ bucket.Info, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// The transfer is checked although we do not sign what we send.
func TestBytesThatChangeOnTheWayAreSentAgain(t *testing.T) {
	t.Parallel()
	for name, start := range realServers {
		t.Run(name, func(t *testing.T) {
			b, p := through(t, start(t))
			corrupt := func(_ http.ResponseWriter, r *http.Request) bool {
				body, err := io.ReadAll(r.Body)
				if err != nil || len(body) == 0 {
					t.Errorf("%d bytes, %v", len(body), err)
					return false
				}
				body[len(body)/2] ^= 1
				r.Body = io.NopCloser(bytes.NewReader(body))
				return false
			}
			data := strings.Repeat("data", 1000)
			put := func(key string, cond bucket.Condition) {
				t.Helper()
				p.breakNext(corrupt)
				if _, err := b.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), cond); err != nil {
					t.Errorf("put %s: %v", key, err)
				}
				wantBytes(t, b, key, data)
				if len(p.seen()) < 3 { // two to put, one to get
					t.Errorf("put %s: what was corrupted was accepted: %q", key, p.seen())
				}
			}
			put("signed", bucket.Condition{})
			put("presigned", bucket.Condition{NotAfter: farOff()})

			id, err := b.CreateMultipart(t.Context(), "parts")
			if err != nil {
				t.Fatal(err)
			}
			p.breakNext(corrupt)
			part, err := b.PutPart(t.Context(), "parts", id, 1, strings.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.seen()) < 2 {
				t.Error("put part: what was corrupted was accepted")
			}
			if _, err := b.CompleteMultipart(t.Context(), "parts", id, []bucket.Part{part}, bucket.Condition{}); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, b, "parts", data)
		})
	}
}

// A write takes effect, and its answer is lost: the next try of a conditional
// one finds its own object.
func TestAnAnswerThatIsLost(t *testing.T) {
	t.Parallel()
	for name, start := range realServers {
		t.Run(name, func(t *testing.T) {
			b, p := through(t, start(t))
			lose := func(w http.ResponseWriter, r *http.Request) bool {
				p.Handler.ServeHTTP(httptest.NewRecorder(), r)
				hangUp(w, r)
				return true
			}
			p.breakNext(lose)
			if _, err := b.Put(t.Context(), "a", strings.NewReader("data"), 4, bucket.Condition{}); err != nil {
				t.Errorf("put: %v", err)
			}
			for _, cond := range []bucket.Condition{{IfAbsent: true}, {IfAbsent: true, NotAfter: farOff()}} {
				if err := b.Delete(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				p.breakNext(lose)
				_, err := b.Put(t.Context(), "a", strings.NewReader("data"), 4, cond)
				if !errors.Is(err, bucket.ErrPrecondition) {
					t.Errorf("conditional put: %v", err)
				}
				wantBytes(t, b, "a", "data")
			}
			p.breakNext(lose)
			if err := b.Delete(t.Context(), "a"); err != nil {
				t.Errorf("delete: %v", err)
			}
			id, err := b.CreateMultipart(t.Context(), "m")
			if err != nil {
				t.Fatal(err)
			}
			p.breakNext(lose)
			part, err := b.PutPart(t.Context(), "m", id, 1, strings.NewReader("data"), 4)
			if err != nil {
				t.Fatal(err)
			}
			p.breakNext(lose)
			_, err = b.CompleteMultipart(t.Context(), "m", id, []bucket.Part{part}, bucket.Condition{IfAbsent: true})
			if err != nil && !errors.Is(err, bucket.ErrNoUpload) && !errors.Is(err, bucket.ErrPrecondition) {
				t.Errorf("complete: %v", err)
			}
			wantBytes(t, b, "m", "data")
		})
	}
}

// When the bucket goes away in the middle of an upload, nothing that is asked
// of it is answered as if an object were not there.
func TestABucketThatGoesAway(t *testing.T) {
	t.Parallel()
	// Each call has a bucket of its own: MinIO may bring one back that it is asked
	// for again and again.
	calls := map[string]func(ctx context.Context, b bucket.Bucket) error{
		"get": func(ctx context.Context, b bucket.Bucket) error { _, _, err := b.Get(ctx, "a", 0, -1); return err },
		"put": func(ctx context.Context, b bucket.Bucket) error {
			_, err := b.Put(ctx, "a", strings.NewReader("x"), 1, bucket.Condition{})
			return err
		},
		"put in time": func(ctx context.Context, b bucket.Bucket) error {
			_, err := b.Put(ctx, "a", strings.NewReader("x"), 1, bucket.Condition{NotAfter: farOff()})
			return err
		},
		"create upload": func(ctx context.Context, b bucket.Bucket) error { _, err := b.CreateMultipart(ctx, "m"); return err },
		"delete":        func(ctx context.Context, b bucket.Bucket) error { return b.Delete(ctx, "a") },
		"list": func(ctx context.Context, b bucket.Bucket) error {
			for _, err := range b.List(ctx, "", "") {
				return err
			}
			return nil
		},
	}
	for name, start := range realServers {
		for what, call := range calls {
			t.Run(name+"/"+what, func(t *testing.T) {
				b := openTest(t, start(t), "")
				s, ok := b.(*Bucket)
				if !ok {
					s = b.(deletesIf).Bucket
				}
				if err := s.core.RemoveBucket(t.Context(), s.name); err != nil {
					t.Fatal(err)
				}
				wantGone(t, what, call(t.Context(), b))
			})
		}
	}
}

func wantGone(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "the bucket is gone") {
		t.Errorf("%s: %v", what, err)
	}
}

func wantBytes(t *testing.T, b bucket.Bucket, key, want string) {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Errorf("get %s: %v", key, err)
		return
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != want {
		t.Errorf("%s has %.40q, %v", key, data, err)
	}
}
