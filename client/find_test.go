package client_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/server/servertest"
)

func TestTheServerIsFoundBehindItsRegistry(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	addr, err := client.Find(t.Context(), s.HTTP, nil)
	if err != nil || addr != s.GRPC {
		t.Fatalf("%s, %v; want %s", addr, err, s.GRPC)
	}
	_, port, _ := net.SplitHostPort(s.HTTP)
	_, grpcPort, _ := net.SplitHostPort(s.GRPC)
	if addr, err := client.Find(t.Context(), "localhost:"+port, nil); err != nil || addr != "localhost:"+grpcPort {
		t.Errorf("by name: %s, %v", addr, err)
	}
}

func TestWhatIsNotFound(t *testing.T) {
	serve := func(start func(*httptest.Server), f http.HandlerFunc) string {
		srv := httptest.NewUnstartedServer(f)
		start(srv)
		t.Cleanup(srv.Close)
		_, host, _ := strings.Cut(srv.URL, "://")
		return host
	}
	plain := func(s *httptest.Server) { s.Start() }
	other := serve(plain, func(w http.ResponseWriter, r *http.Request) {})
	wrong := serve(plain, func(w http.ResponseWriter, r *http.Request) { w.Header().Set(client.PortHeader, "70707") })
	for host, c := range map[string]struct {
		notLamina bool
		says      string
	}{
		other:         {true, other},
		"docker.io":   {true, "docker.io"},
		wrong:         {false, `no port: "70707"`},
		"127.0.0.1:1": {false, "no answer from the registry at 127.0.0.1:1: connection refused"},
	} {
		_, err := client.Find(t.Context(), host, nil)
		t.Log(err)
		if err == nil || errors.Is(err, client.ErrNotLamina) != c.notLamina || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
