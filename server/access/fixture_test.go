package access_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

// A clock stands until it is turned.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A log is what was logged, at every level.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *log) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A world is a fixture with a clock that stands, a bucket that can be broken,
// and a log.
type world struct {
	*accesstest.Fixture
	bucket *storetest.Bucket
	clock  *clock
	log    *log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{bucket: &storetest.Bucket{Bucket: memory.New(memory.Options{})}, clock: &clock{at: time.Now()}, log: &log{}}
	w.Fixture = accesstest.New(t, w.bucket)
	w.Issuer.Now = w.clock.Now
	w.Control = w.server(t)
	return w
}

// server is another server of the same bucket and configuration.
func (w *world) server(t *testing.T) *access.Control {
	t.Helper()
	return accesstest.Open(t, w.File, access.Options{Bucket: w.bucket, Now: w.clock.Now, Logger: w.log.logger()})
}

// countBucket counts the calls to the bucket from now on.
func (w *world) countBucket() func() map[string]int {
	var mu sync.Mutex
	n := make(map[string]int)
	w.bucket.Set(func(op, _ string, pass func() error) error {
		mu.Lock()
		n[op]++
		mu.Unlock()
		return pass()
	})
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		out := n
		n = make(map[string]int)
		return out
	}
}

// breakBucket makes all calls fail.
func (w *world) breakBucket() {
	w.bucket.Set(func(string, string, func() error) error { return bucket.ErrUnavailable })
}

func (w *world) bearer(c *access.Control, t *testing.T, token string) (*access.Caller, error) {
	return c.Identify(t.Context(), access.Credentials{Authorization: "Bearer " + token})
}

// edit replaces texts in the configuration, pair by pair, and reads it again.
func (w *world) edit(t *testing.T, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(w.File)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("the configuration has no %q", pairs[i])
		}
	}
	if err := os.WriteFile(w.File, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Control.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// An answer of the token service.
type answer struct {
	status      int
	header      http.Header
	body        string
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	IssuedAt    string `json:"issued_at"`
	Scope       string `json:"scope"`
	Refresh     string `json:"refresh_token"`
}

func serveToken(t *testing.T, c *access.Control, r *http.Request) answer {
	t.Helper()
	rec := httptest.NewRecorder()
	c.ServeToken(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if r.Method != http.MethodHead {
		if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
			t.Fatalf("%q: %v", a.body, err)
		}
	}
	return a
}

// get asks for a token by GET.
func get(t *testing.T, c *access.Control, who accesstest.Caller, scopes ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/token?"+url.Values{"service": {"lamina"}, "scope": scopes}.Encode(), nil)
	r.TLS = who.Credentials().TLS
	if who.Authorization != "" {
		r.Header.Set("Authorization", who.Authorization)
	}
	return serveToken(t, c, r)
}

// post asks for a token by POST.
func post(t *testing.T, c *access.Control, form url.Values) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return serveToken(t, c, r)
}

// token asks for a token that must be given.
func token(t *testing.T, c *access.Control, who accesstest.Caller, scopes ...string) string {
	t.Helper()
	a := get(t, c, who, scopes...)
	if a.status != http.StatusOK || a.Token == "" {
		t.Fatalf("%s: %d %s", who.Name, a.status, a.body)
	}
	return a.Token
}
