package transfer

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	registryserver "github.com/google/go-containerregistry/pkg/registry"

	"github.com/laminastore/lamina/internal/imagetest"
)

// cutting is a registry that breaks off each download of a blob after n bytes.
type cutting struct {
	http.Handler
	n    int64
	sent atomic.Int64
	cuts atomic.Int64
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		w = &cutWriter{ResponseWriter: w, c: c, left: c.n}
	}
	c.Handler.ServeHTTP(w, r)
}

type cutWriter struct {
	http.ResponseWriter
	c    *cutting
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	p = p[:min(int64(len(p)), w.left)]
	n, err := w.ResponseWriter.Write(p)
	w.left -= int64(n)
	w.c.sent.Add(int64(n))
	if w.left == 0 && err == nil {
		w.c.cuts.Add(1)
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestADownloadGoesOnWhereItWasCutOff(t *testing.T) {
	cut := &cutting{Handler: registryserver.New(registryserver.Logger(log.New(io.Discard, "", 0))), n: 1 << 40}
	srv := httptest.NewServer(cut)
	defer srv.Close()
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 200_000)
	there := "docker://" + strings.TrimPrefix(srv.URL, "http://") + "/demo/app:1"
	mustCopy(t, "oci:"+b.Layout(t, root), there, Options{})

	cut.n = 50_000
	r := mustCopy(t, there, "oci:"+t.TempDir()+"/x", Options{})
	if cut.cuts.Load() < 4 {
		t.Errorf("cut %d times", cut.cuts.Load())
	}
	if sent := cut.sent.Load(); sent != r.Size {
		t.Errorf("%d bytes were sent of an image of %d", sent, r.Size)
	}
}

// A proxy that knows no ranges sends all of it again.
func TestADownloadGoesOnWithoutRanges(t *testing.T) {
	cut := &cutting{Handler: registryserver.New(registryserver.Logger(log.New(io.Discard, "", 0))), n: 1 << 40}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			cut.n = 1 << 40
		}
		r.Header.Del("Range")
		cut.ServeHTTP(w, r)
	}))
	defer srv.Close()
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 200_000)
	there := "docker://" + strings.TrimPrefix(srv.URL, "http://") + "/demo/app:1"
	mustCopy(t, "oci:"+b.Layout(t, root), there, Options{})
	cut.n = 50_000
	place := "oci:" + t.TempDir() + "/x"
	mustCopy(t, there, place, Options{Parallel: 1})
	if got := everything(t, place); got["root"] != string(root.Digest) || cut.cuts.Load() != 1 {
		t.Errorf("root %s, cut %d times", got["root"], cut.cuts.Load())
	}
}

func TestNothingGoesOverTheNetworkInPlainText(t *testing.T) {
	// An address of this machine that is not loopback.
	var host string
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			host = n.IP.String()
		}
	}
	if host == "" {
		t.Skip("this machine has no address but loopback")
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	})}}
	srv.Start()
	defer srv.Close()
	place := mustParse(t, "docker://"+l.Addr().String()+"/demo/app:1")
	_, err = Open(t.Context(), place, OpenOptions{})
	if err == nil || !strings.Contains(err.Error(), "--plain-http "+l.Addr().String()) || asked.Load() != 0 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	_, err = Open(t.Context(), place, OpenOptions{PlainHTTP: []string{l.Addr().String()}})
	if !errors.Is(err, ErrNotFound) || asked.Load() == 0 {
		t.Errorf("allowed, asked %d times: %v", asked.Load(), err)
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "a.localhost:1": true, "127.0.0.1:5000": true, "127.1.2.3": true, "[::1]:5000": true, "[::1]": true,
		"10.0.0.1:5000": false, "example.org": false, "localhost.example.org:5000": false, "[2001:db8::1]:5000": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
