package client

import (
	"context"
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
	scheme := "https"
	if transfer.IsLoopback(host) || slices.Contains(plainHTTP, host) {
		scheme = "http"
	}
	if host == "docker.io" { // where /v2/ is a web page
		return "", fmt.Errorf("%w: %s", ErrNotLamina, host)
	}
	ctx, cancel := context.WithTimeout(ctx, findWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil)
	if err != nil {
		return "", fmt.Errorf("registry %s: %w", host, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", findError(ctx, host, scheme, err)
	}
	defer resp.Body.Close()
	port := resp.Header.Get(PortHeader)
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
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no answer from the registry at %s: %s (is it running? the host is the first part of REF)", host, innermost(err.Error()))
	}
	return fmt.Errorf("registry %s: %w", host, err)
}
