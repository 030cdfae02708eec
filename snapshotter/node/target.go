package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/reference"
)

// target is where an image that is made goes to.
type target struct {
	*client.Client
	ref reference.Reference
}

// target finds the server that a reference names; without a host in it, it is
// this node's own.
func (a *Agent) target(ctx context.Context, s string) (*target, error) {
	ref, err := reference.Parse(s)
	if err == nil && ref.Digest != "" {
		err = fmt.Errorf("%q has a digest, which is not known before the image is made", s)
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	addr, who := a.cfg.Server, a.cfg.Login
	if ref.Host != "" && !sameHost(ref.Host, addr) {
		who = nil // the node is nobody to another server
	}
	if ref.Host != "" {
		plain := a.cfg.PlainHTTP
		if sameHost(ref.Host, addr) && !strings.HasPrefix(addr, "https://") && !who.AsksTLS() {
			plain = append(slices.Clone(plain), ref.Host) // as gRPC is spoken to it
		}
		// Asked also where it seems to be this node's own: several registries may be
		// on one host.
		addr, err = who.Find(ctx, ref.Host, plain)
		if errors.Is(err, client.ErrNotLamina) {
			err = fmt.Errorf("%w: commit to a Lamina server, and copy the image from there", err)
		}
		if err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	c, err := client.Dial(addr, client.Options{Login: who, UserAgent: "lamina-node/" + a.cfg.Version})
	if err != nil {
		return nil, err
	}
	return &target{c, ref}, nil
}

// sameHost says whether a registry's host is that of a gRPC address, whatever
// the ports: a server speaks both.
func sameHost(registry, grpc string) bool {
	a, b := hostname(registry), hostname(grpc)
	return a != "" && (a == b || transfer.IsLoopback(a) && transfer.IsLoopback(b))
}

func hostname(addr string) string {
	addr = strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://")
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return (&url.URL{Host: addr}).Hostname()
}
