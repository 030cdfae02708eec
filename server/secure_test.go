package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/servertest"
)

// Nobody opens a server to other machines by an address alone.
func TestOtherMachinesAreLetInOnPurpose(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     server.Config
		refused string   // the flag that the error names; "" if it starts
		says    []string // the warnings
	}{
		"loopback":         {server.Config{HTTP: "127.0.0.1:0", GRPC: "[::1]:0"}, "", nil},
		"http":             {server.Config{HTTP: "0.0.0.0:0"}, "--http", nil},
		"grpc":             {server.Config{GRPC: "0.0.0.0:0"}, "--grpc", nil},
		"any":              {server.Config{HTTP: ":0"}, "--http", nil},
		"open":             {server.Config{HTTP: "0.0.0.0:0", Access: "open"}, "", []string{"whoever reaches"}},
		"open on loopback": {server.Config{Access: "open"}, "", nil},
		"health":           {server.Config{Metrics: "0.0.0.0:0"}, "", []string{"health and metrics"}},
	} {
		var log bytes.Buffer
		c.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if c.refused != "" {
			for _, address := range []*string{&c.cfg.HTTP, &c.cfg.GRPC, &c.cfg.Metrics} {
				if *address == "" {
					*address = server.Off
				}
			}
			c.cfg.Bucket = "file:///nowhere/at/all" // not even looked at
			err := server.Run(t.Context(), c.cfg)
			if !errors.Is(err, server.ErrOpen) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "--access") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		s := servertest.Start(t, servertest.Options{Config: c.cfg})
		s.Stop(t)
		if !strings.Contains(log.String(), "http://"+s.HTTP) {
			t.Errorf("%s: the log does not say where: %s", name, &log)
		}
		if len(c.says) == 0 && strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: warns: %s", name, &log)
		}
		for _, want := range c.says {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: the log does not say %q: %s", name, want, &log)
			}
		}
	}
}

// serial is that of the certificate that a server shows.
func serial(t *testing.T, address string, c *tls.Config) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// A pair is a certificate of a server and its key in files.
func newPair(t *testing.T, ca *accesstest.CA, name string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	accesstest.WritePair(t, ca.Server(func(c *x509.Certificate) { c.Subject.CommonName = name }), cert, key)
	return cert, key
}

func TestBothAPIsSpeakTLS(t *testing.T) {
	ca := accesstest.NewCA(t)
	cert, key := newPair(t, ca, "one")
	client := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()}
	f := accesstest.New(t, memory.New(memory.Options{}))
	s := servertest.Start(t, servertest.Options{
		Config: server.Config{Access: f.File, TLSCert: cert, TLSKey: key, Reload: time.Millisecond}, TLS: client,
	})
	url := "https://" + s.HTTP + "/healthy"
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true}}
	defer h.CloseIdleConnections()
	r, err := h.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 404 || r.ProtoMajor != 2 {
		t.Errorf("%s: %s %s", url, r.Proto, r.Status)
	}
	if code, _ := get(t, strings.Replace(url, "https", "http", 1)); code != 400 {
		t.Errorf("plain text is answered with %d", code)
	}
	if _, err := healthpb.NewHealthClient(s.Conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := healthpb.NewHealthClient(servertest.Dial(t, s.GRPC)).Check(t.Context(), &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("plain text is answered")
	}
	// A renewed certificate is shown to whoever comes next.
	if got := serial(t, s.HTTP, client); got != "one" {
		t.Errorf("it shows %s", got)
	}
	next, nextKey := newPair(t, ca, "two")
	if err := errors.Join(os.Rename(next, cert), os.Rename(nextKey, key)); err != nil {
		t.Fatal(err)
	}
	for serial(t, s.HTTP, client) != "two" { // the files are looked at now and then
		if t.Context().Err() != nil {
			t.Fatal("the renewed certificate is not taken up")
		}
	}
}

func TestTLSThatCannotBe(t *testing.T) {
	ca := accesstest.NewCA(t)
	cert, key := newPair(t, ca, "a")
	_, other := newPair(t, ca, "b")
	for _, files := range [][2]string{{cert, ""}, {"", key}, {cert, other}, {cert, "/nowhere.key"}} {
		err := server.Run(t.Context(), server.Config{
			Logger: slog.New(slog.DiscardHandler),
			Bucket: "memory:", HTTP: "127.0.0.1:0", GRPC: server.Off, Metrics: server.Off, TLSCert: files[0], TLSKey: files[1],
		})
		if err == nil || !strings.Contains(err.Error(), "--tls-key") {
			t.Errorf("%v: %v", files, err)
		}
	}
}
