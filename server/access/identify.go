package access

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// tokenUser is the name with which a token goes where a client has only a name
// and a password to give: `docker login -u _token`.
const tokenUser = "_token"

// Credentials are what a caller shows.
type Credentials struct {
	Authorization string               // the header, or gRPC's metadata of that name
	TLS           *tls.ConnectionState // nil without TLS
	Remote        netip.Addr           // for the log
}

// Identify finds out who shows cr; whoever shows nothing is anonymous. What is
// in Authorization goes before a client certificate.
// Errors: ErrCredentials, ErrUnavailable; ctx's.
func (c *Control) Identify(ctx context.Context, cr Credentials) (*Caller, error) {
	if c.open {
		return everyone, nil
	}
	s := c.state.Load()
	id, scopes, err := c.identity(ctx, s, cr, true)
	if err != nil {
		c.logRefusal(ctx, cr, err)
		return nil, err
	}
	return s.rules.caller(id, scopes), nil
}

// logRefusal logs why somebody was not let in; never what was shown.
func (c *Control) logRefusal(ctx context.Context, cr Credentials, err error) {
	scheme, _, _ := strings.Cut(cr.Authorization, " ")
	if !strings.EqualFold(scheme, "Basic") && !strings.EqualFold(scheme, "Bearer") {
		scheme = "" // it may be a secret that has lost its scheme
	}
	attrs := []any{"from", cr.Remote, "scheme", scheme, "error", err}
	switch {
	case errors.Is(err, ErrUnavailable):
		c.o.Logger.WarnContext(ctx, "a caller cannot be identified now", attrs...)
	case errors.Is(err, ErrCredentials):
		c.o.Logger.InfoContext(ctx, "a caller was not let in", attrs...)
	}
}

// identity checks credentials. own says whether tokens of ours are among them: a
// token cannot be had for a token, or none would ever expire.
func (c *Control) identity(ctx context.Context, s *state, cr Credentials, own bool) (identity, *scopeSet, error) {
	scheme, rest, _ := strings.Cut(cr.Authorization, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case cr.Authorization == "":
		return s.certificate(cr.TLS, c.o.Now())
	case len(rest) > maxToken*2:
		return identity{}, nil, fmt.Errorf("%w: they are too long", ErrCredentials)
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := parseBasic(rest)
		if !ok {
			return identity{}, nil, fmt.Errorf("%w: Basic takes the base64 of NAME:PASSWORD", ErrCredentials)
		}
		id, err := c.password(ctx, s, user, password)
		return id, nil, err
	case strings.EqualFold(scheme, "Bearer"):
		return c.bearer(ctx, s, rest, own)
	}
	return identity{}, nil, fmt.Errorf("%w: use Basic or Bearer", ErrCredentials)
}

func parseBasic(s string) (user, password string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// password checks a name and password, or a token of an issuer in its place.
func (c *Control) password(ctx context.Context, s *state, user, password string) (identity, error) {
	if user == tokenUser {
		id, _, err := c.bearer(ctx, s, password, false)
		return id, err
	}
	if err := c.passwords.check(ctx, s.users, user, password); err != nil {
		return identity{}, err
	}
	return identity{Kind: kindUser, Name: user}, nil
}

// bearer checks a token: of ours, if own, or of an issuer.
func (c *Control) bearer(ctx context.Context, s *state, raw string, own bool) (identity, *scopeSet, error) {
	if len(raw) > maxToken {
		return identity{}, nil, fmt.Errorf("%w: the token is too long", ErrCredentials)
	}
	from := issuerOf(raw)
	if from == tokenIssuer && own {
		id, scopes, err := c.tokens.verify(ctx, s.config, raw)
		if err == nil {
			err = s.still(id)
		}
		return id, scopes, err
	}
	i := s.byIssuer[from]
	if i == nil {
		return identity{}, nil, fmt.Errorf("%w: tokens of its issuer are not accepted", ErrCredentials)
	}
	id, err := i.verify(ctx, raw)
	return id, nil, err
}

// issuerOf is who a token says it comes from: only a hint whom to ask, which
// what is asked checks. It is "" for what is no token.
func issuerOf(raw string) string {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
