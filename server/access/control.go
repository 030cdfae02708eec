package access

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
)

// A Control identifies callers by one configuration. Safe for concurrent use.
type Control struct {
	open bool
}

// AllowAll returns a Control for which everyone may do everything, whatever
// they show. It holds nothing that needs closing.
func AllowAll() *Control { return &Control{open: true} }

// Open reads the configuration in file; "open" is AllowAll. It does no I/O
// beside reading files: issuers and the bucket are asked when they are needed.
// The caller closes the Control. Errors: ErrConfig, with file and line.
func Open(_ context.Context, file string, o Options) (*Control, error) {
	if file == Everything {
		return AllowAll(), nil
	}
	return nil, errors.New("not yet")
}

// Open says whether everything is open to everyone (AllowAll).
func (c *Control) Open() bool { return c.open }

// Close ends what runs in the background. When it returns, nothing does.
func (c *Control) Close(context.Context) error { return nil }

// Reload reads the configuration again. When it is not usable the old one goes
// on. It happens by itself when one of the files has changed. Errors: ErrConfig.
func (c *Control) Reload(context.Context) error { return nil }

// Warnings says what is open to everyone, a sentence each, for the start.
func (c *Control) Warnings() []string {
	if c.open {
		return []string{"whoever reaches this server may read, change and delete everything"}
	}
	return nil
}

// Credentials are what a caller shows.
type Credentials struct {
	Authorization string               // the header, or gRPC's metadata of that name
	TLS           *tls.ConnectionState // nil without TLS
	Remote        netip.Addr           // for the log
}

// Identify finds out who shows cr; whoever shows nothing is anonymous.
// Errors: ErrCredentials, ErrUnavailable.
func (c *Control) Identify(context.Context, Credentials) (*Caller, error) {
	if c.open {
		return everyone, nil
	}
	return nil, ErrCredentials
}

// Challenge is the value of WWW-Authenticate with which a request is told how
// to get in, and that it needs the scopes. It is empty when everything is open.
func (c *Control) Challenge(r *http.Request, scopes ...Scope) string { return "" }

// ServeToken answers GET and POST of /v2/token: the Docker token protocol.
func (c *Control) ServeToken(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// TLS returns the configuration with which a server is to accept connections:
// base, asking for client certificates as long as the configuration has any use
// for them. They are checked by Identify, not in the handshake.
func (c *Control) TLS(base *tls.Config) *tls.Config { return base }
