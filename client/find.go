package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/laminastore/lamina/client/transfer"
)

// PortHeader is the header by which a Lamina registry tells on which port of its
// host gRPC is served. It is in the answer to GET /v2/.
const PortHeader = "Lamina-Grpc-Port"

// ErrNotLamina: a registry that answers, and is another.
var ErrNotLamina = errors.New("not a Lamina registry")

// findWithin is how long a registry may take to answer.
const findWithin = 10 * time.Second

// Find asks the registry at host (HOST[:PORT], the beginning of a reference)
// where its gRPC API is, and returns an address for Dial. Plain HTTP is spoken
// to loopback and the hosts in plainHTTP, and is then also what gRPC is spoken
// over. Errors: ErrNotLamina; others when nobody answers.
func Find(ctx context.Context, host string, plainHTTP []string) (string, error) {
	return (*Login)(nil).Find(ctx, host, plainHTTP)
}

// Find is the same for somebody with certificates: with those it speaks TLS to
// loopback, too.
func (l *Login) Find(ctx context.Context, host string, plainHTTP []string) (string, error) {
	if host == "docker.io" { // where /v2/ is a web page
		return "", fmt.Errorf("%w: %s", ErrNotLamina, host)
	}
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	loopback := transfer.IsLoopback(host)
	scheme := "https"
	if slices.Contains(plainHTTP, host) || loopback && !l.AsksTLS() {
		scheme = "http"
	}
	port, code, err := l.ask(ctx, scheme, host)
	if err == nil && port == "" && code == http.StatusBadRequest && loopback && scheme == "http" {
		// What a server says that speaks TLS.
		scheme = "https"
		port, _, err = l.ask(ctx, scheme, host)
	}
	if err != nil {
		return "", err
	}
	if port == "" {
		return "", fmt.Errorf("%w: %s", ErrNotLamina, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("registry %s: its header %s is no port: %.20q", host, PortHeader, port)
	}
	name := (&url.URL{Host: host}).Hostname()
	addr := net.JoinHostPort(name, port)
	if scheme == "https" {
		addr = "https://" + addr
	}
	return addr, nil
}

// ask asks a registry for its port of gRPC; "" is none. Who asks does not say who
// it is: the answer is for everybody.
func (l *Login) ask(ctx context.Context, scheme, host string) (port string, code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil)
	if err != nil {
		return "", 0, fmt.Errorf("registry %s: %w", host, err)
	}
	c, err := l.http()
	if err != nil {
		return "", 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", 0, findError(ctx, host, scheme, err)
	}
	resp.Body.Close()
	return resp.Header.Get(PortHeader), resp.StatusCode, nil
}

func findError(ctx context.Context, host, scheme string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("registry %s: no answer within %v", host, findWithin)
	}
	if scheme == "https" && errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("registry %s speaks plain HTTP (if it should, say --plain-http %s)", host, host)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("registry %s: %w (--ca names the authority that signed its certificate)", host, err)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no answer from the registry at %s: %s (is it running? the host is the first part of REF)", host, innermost(err.Error()))
	}
	return fmt.Errorf("registry %s: %w", host, err)
}
