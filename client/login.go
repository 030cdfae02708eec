package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client/transfer"
)

// A Login says who calls, and whose certificates are believed. Its files are
// read whenever they are needed, so that renewed ones count. What is secret goes
// over TLS, or to this machine, and nowhere else. The zero value shows nothing.
// It is not to be changed once it is in use.
type Login struct {
	// TokenFile is a file with a token, or with NAME:PASSWORD.
	TokenFile string
	// Docker are the hosts, HOST[:PORT], under which the credentials of docker
	// login are looked for, in this order, when there is no TokenFile.
	Docker []string
	// CA is a file with the certificates of the authorities that are believed, in
	// place of the system's; Cert and Key are those that this side shows. With any
	// of them TLS is spoken, whatever the address says.
	CA, Cert, Key string

	once   sync.Once
	docker string // the header that Docker comes to
}

// maxSecret is how large a token file may be in bytes.
const maxSecret = 64 << 10

// AsksTLS says whether TLS is to be spoken where nothing else says so.
func (l *Login) AsksTLS() bool { return l != nil && (l.CA != "" || l.Cert != "" || l.Key != "") }

// TLS is base with the login's certificates as they are now; base may be nil.
func (l *Login) TLS(base *tls.Config) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		c = base.Clone()
	}
	if l == nil {
		return c, nil
	}
	if l.CA != "" {
		raw, err := os.ReadFile(l.CA)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("--ca %s: there is no certificate in it (PEM is wanted)", l.CA)
		}
	}
	switch {
	case l.Cert == "" && l.Key == "":
	case l.Cert == "" || l.Key == "":
		return nil, errors.New("--cert and --key go together: give both files, or none")
	default:
		pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// authorization is the header that says who calls; "" for nobody.
func (l *Login) authorization(ctx context.Context) (string, error) {
	if l.TokenFile == "" {
		l.once.Do(func() { l.docker = dockerLogin(ctx, l.Docker) })
		return l.docker, nil
	}
	raw, err := os.ReadFile(l.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	switch {
	case secret == "" || len(raw) > maxSecret || strings.ContainsAny(secret, "\r\n"):
		return "", fmt.Errorf("--token-file %s: one line is wanted, with a token or NAME:PASSWORD", l.TokenFile)
	case strings.Contains(secret, ":"):
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(secret)), nil
	}
	return "Bearer " + secret, nil
}

// dockerLogin finds what docker login, and its like, have kept for one of hosts.
// What cannot be read is as if it were not there: the server says what it misses.
func dockerLogin(ctx context.Context, hosts []string) string {
	for _, host := range hosts {
		reg, err := name.NewRegistry(host)
		if err != nil {
			continue
		}
		auth, err := authn.Resolve(ctx, authn.DefaultKeychain, reg)
		if err != nil || auth == authn.Anonymous {
			continue
		}
		c, err := authn.Authorization(ctx, auth)
		switch {
		case err != nil:
		case c.RegistryToken != "":
			return "Bearer " + c.RegistryToken
		case c.IdentityToken != "":
			return "Bearer " + c.IdentityToken
		case c.Username != "":
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
		case c.Auth != "":
			return "Basic " + c.Auth
		}
	}
	return ""
}

// perRPC shows a login with each call.
type perRPC struct {
	*Login
	secret bool // the way is one for secrets
}

func (p perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if !p.secret {
		return nil, nil
	}
	auth, err := p.authorization(ctx)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	if auth == "" {
		return nil, nil
	}
	return map[string]string{"authorization": auth}, nil
}

// RequireTransportSecurity is false since loopback needs none; what else needs
// it is in secret.
func (p perRPC) RequireTransportSecurity() bool { return false }

// checkWay fails where a secret that was given on purpose would be sent as plain
// text.
func (l *Login) checkWay(addr string, secret bool) error {
	if l == nil || secret || l.TokenFile == "" {
		return nil
	}
	return fmt.Errorf("server %s: what is in --token-file is not sent as plain text over a network: use https://%s", addr, addr)
}

// secretWay says whether what goes to target is read by nobody on the way.
func secretWay(target string, overTLS bool) bool {
	return overTLS || strings.HasPrefix(target, "unix:") || transfer.IsLoopback(target)
}

// renewedTLS reads the login's files anew for each connection.
type renewedTLS struct {
	login *Login
	base  *tls.Config
}

func (r renewedTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, err := r.login.TLS(r.base)
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(c).ClientHandshake(ctx, authority, conn)
}

func (r renewedTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("this is a client")
}

func (r renewedTLS) Info() credentials.ProtocolInfo { return credentials.NewTLS(r.base).Info() }

func (r renewedTLS) Clone() credentials.TransportCredentials {
	return renewedTLS{r.login, r.base.Clone()}
}

// OverrideServerName is deprecated, and nobody here calls it.
func (r renewedTLS) OverrideServerName(string) error { return errors.New("not supported") }

// http is a client for a few requests.
func (l *Login) http() (*http.Client, error) {
	c, err := l.TLS(nil)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}}, nil
}
