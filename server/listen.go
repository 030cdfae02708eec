package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
)

// Off, as an address, is one that is not served.
const Off = "off"

// A door is one of the addresses that a server listens on; nil is one that is
// off.
type door struct {
	net.Listener
	what   string // "the OCI registry"
	option string // the flag that sets the address
	scheme string // of its URL
}

type doors struct {
	http, grpc, metrics *door
}

// openDoors listens on all addresses, so that one which is taken is known
// before the bucket is looked at. What knocks meanwhile waits.
func openDoors(ctx context.Context, cfg Config) (*doors, error) {
	d := &doors{}
	var err error
	for _, o := range []struct {
		to                       **door
		what, option, scheme, at string
	}{
		{&d.http, "the OCI registry", "--http", "http", cfg.HTTP},
		{&d.grpc, "the gRPC API", "--grpc", "grpc", cfg.GRPC},
		{&d.metrics, "health pages", "--metrics", "http", cfg.Metrics},
	} {
		if o.at == Off {
			continue
		}
		if *o.to, err = listen(ctx, o.what, o.option, o.scheme, o.at); err != nil {
			d.close()
			return nil, err
		}
	}
	if err := d.closedToOthers(cfg); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// close closes the doors that are open. Servers close those that they serve.
func (d *doors) close() {
	for _, d := range []*door{d.http, d.grpc, d.metrics} {
		if d != nil {
			_ = d.Close()
		}
	}
}

// listen opens a door. Its errors say which address it is about, and what to do.
func listen(ctx context.Context, what, option, scheme, address string) (*door, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return &door{l, what, option, scheme}, nil
	}
	remedy := "give it as HOST:PORT, as in 127.0.0.1:5000"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "another process listens there: stop it, or choose another address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "this machine does not have that address: choose one of its own"
	case errors.Is(err, syscall.EACCES):
		remedy = "a port below 1024 takes the capability CAP_NET_BIND_SERVICE: choose a higher one"
	}
	return nil, fmt.Errorf("%s %s: cannot listen there for %s: %w (%s)", option, address, what, err, remedy)
}

// announce logs the door's URL.
func (d *door) announce(log *slog.Logger) {
	log.Info(fmt.Sprintf("serving %s on %s://%s", d.what, d.scheme, d.Addr()))
}

// address is HOST:PORT; "" when the door is off.
func (d *door) address() string {
	if d == nil {
		return ""
	}
	return d.Addr().String()
}

// port is 0 when the door is off.
func (d *door) port() int {
	if d == nil {
		return 0
	}
	return d.Addr().(*net.TCPAddr).Port
}
