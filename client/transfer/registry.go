package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry is a repository of another registry, by the OCI distribution
// protocol. Credentials are those of docker login and its like.
type registry struct {
	loc    Location
	ref    name.Reference
	base   http.RoundTripper
	puller *remote.Puller
	client *http.Client // authorised for the repository
}

// openRegistry makes the first contact. plainHTTP lists the hosts, besides
// loopback, that are spoken to without TLS.
func openRegistry(ctx context.Context, l Location, plainHTTP []string, scope string) (*registry, error) {
	var opts []name.Option
	host, _, _ := strings.Cut(l.Path, "/")
	if slices.Contains(plainHTTP, host) {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.ParseReference(l.Path, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrLocation, l, err)
	}
	r := &registry{loc: l, ref: ref, base: &onlyTLS{
		host: ref.Context().RegistryStr(), allowed: IsLoopback(host) || slices.Contains(plainHTTP, host),
	}}
	if r.puller, err = remote.NewPuller(r.options()...); err != nil {
		return nil, r.error(err)
	}
	repo := ref.Context()
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return nil, r.error(err)
	}
	tr, err := transport.NewWithContext(ctx, repo.Registry, auth, r.base, []string{repo.Scope(scope)})
	if err != nil {
		return nil, r.error(err)
	}
	r.client = &http.Client{Transport: tr}
	return r, nil
}

func (r *registry) options() []remote.Option {
	return []remote.Option{remote.WithTransport(r.base), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}

func (r *registry) Root(ctx context.Context) (ocispec.Descriptor, error) {
	d, err := r.puller.Get(ctx, r.ref)
	if err != nil {
		return ocispec.Descriptor{}, r.error(err)
	}
	return ocispec.Descriptor{MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size}, nil
}

func (r *registry) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	got, err := r.puller.Get(ctx, r.ref.Context().Digest(string(d.Digest)))
	if err != nil {
		return nil, r.error(err)
	}
	return got.Manifest, nil
}

func (r *registry) Open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	return newResuming(ctx, offset, func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return r.get(ctx, d, offset)
	})
}

// get asks for a blob from offset, and skips what a registry sends that does not
// know ranges.
func (r *registry) get(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	resp, err := r.blob(ctx, http.MethodGet, d, offset)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, r.error(err)
	}
	if resp.StatusCode == http.StatusOK {
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil {
			resp.Body.Close()
			return nil, r.error(err)
		}
	}
	return resp.Body, nil
}

func (r *registry) blob(ctx context.Context, method string, d ocispec.Descriptor, offset int64) (*http.Response, error) {
	repo := r.ref.Context()
	u := url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: "/v2/" + repo.RepositoryStr() + "/blobs/" + string(d.Digest)}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1)) // some do not know "N-"
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, r.error(err)
	}
	return resp, nil
}

func (r *registry) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

func (r *registry) String() string { return r.loc.String() }

// error says what went wrong in the words of people. Errors: ErrNotFound for
// what the registry does not have.
func (r *registry) error(err error) error {
	var e *transport.Error
	host := r.ref.Context().RegistryStr()
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &e) && e.StatusCode == http.StatusNotFound:
		return at(r.loc, &Error{Class: ErrNotFound, Err: e, Detail: "the registry does not have it"})
	case errors.As(err, &e) && (e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden):
		return at(r.loc, &Error{Err: e, Detail: fmt.Sprintf("the registry refuses it: %s (log in with a client that writes Docker's config.json, as in: docker login %s)", diagnosis(e), host)})
	case errors.As(err, &e):
		return at(r.loc, &Error{Err: e, Detail: "the registry answers: " + diagnosis(e)})
	case errors.Is(err, http.ErrSchemeMismatch):
		return at(r.loc, errPlainHTTP(host))
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return at(r.loc, err)
}

func diagnosis(e *transport.Error) string {
	if len(e.Errors) > 0 && e.Errors[0].Message != "" {
		return e.Errors[0].Message
	}
	return strconv.Itoa(e.StatusCode) + " " + http.StatusText(e.StatusCode)
}

// onlyTLS keeps what is sent to a registry from going over the network as plain
// text because nobody answered with TLS.
type onlyTLS struct {
	host    string
	allowed bool
}

func (t *onlyTLS) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && req.URL.Host == t.host && !t.allowed {
		return nil, errPlainHTTP(t.host)
	}
	return remote.DefaultTransport.RoundTrip(req)
}

func errPlainHTTP(host string) error {
	return fmt.Errorf("%s does not answer with TLS (if it should not, say --plain-http %s)", host, host)
}

// IsLoopback says whether host, with or without a port, is this machine, where
// plain HTTP is taken for granted.
func IsLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
