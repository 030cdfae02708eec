package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// leeway is how far the clocks of an issuer and of a server may differ.
	leeway = time.Minute
	// maxToken bounds what is parsed, in bytes.
	maxToken = 16 << 10
	// maxCandidates is how many keys are tried on a token that names none.
	maxCandidates = 8
)

// issuerAlgorithms are the signatures that issuers may use. "none" and HMAC are
// not among them.
var issuerAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// An issuer is somebody whose tokens are accepted: an OpenID Connect provider,
// or whoever has the keys of a JWKS.
type issuer struct {
	issuerConfig
	keys *issuerKeys
	now  func() time.Time
}

func newIssuer(c issuerConfig, now func() time.Time) *issuer {
	return &issuer{issuerConfig: c, keys: newIssuerKeys(c, now), now: now}
}

// verify checks a token and says whose it is.
// Errors: ErrCredentials, ErrUnavailable; ctx's.
func (i *issuer) verify(ctx context.Context, raw string) (identity, error) {
	token, err := jwt.ParseSigned(raw, issuerAlgorithms)
	if err != nil || len(token.Headers) != 1 {
		return identity{}, errNoToken
	}
	keys, err := i.keys.withID(ctx, token.Headers[0].KeyID)
	if err != nil {
		return identity{}, err
	}
	var claims jwt.Claims
	var all map[string]json.RawMessage
	if !signedByOne(token, keys, &claims, &all) {
		return identity{}, errSignature
	}
	if claims.Expiry == nil {
		return identity{}, fmt.Errorf("%w: the token never expires", ErrCredentials)
	}
	want := jwt.Expected{Issuer: i.issuer, AnyAudience: jwt.Audience{i.audience}, Time: i.now()}
	if err := claims.ValidateWithLeeway(want, leeway); err != nil {
		return identity{}, refusal(err)
	}
	return i.identity(all)
}

// signedByOne tries the keys, and reads the claims once one fits.
func signedByOne(token *jwt.JSONWebToken, keys []jose.JSONWebKey, claims ...any) bool {
	tried := 0
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != token.Headers[0].Algorithm {
			continue
		}
		if tried++; tried > maxCandidates {
			return false
		}
		if token.Claims(k.Key, claims...) == nil {
			return true
		}
	}
	return false
}

// identity reads who the token is about. Claims that a configuration names and
// the token has in another form are errors.
func (i *issuer) identity(claims map[string]json.RawMessage) (identity, error) {
	id := identity{Kind: kindOIDC, Issuer: i.issuer}
	if json.Unmarshal(claims[i.subject], &id.Name) != nil || checkName(id.Name) != nil {
		return identity{}, fmt.Errorf("%w: the token's claim %s cannot be a subject", ErrCredentials, i.subject)
	}
	raw, ok := claims[i.groups]
	if i.groups == "" || !ok {
		return id, nil
	}
	var names []string
	if json.Unmarshal(raw, &names) != nil {
		var name string
		if json.Unmarshal(raw, &name) != nil {
			return identity{}, fmt.Errorf("%w: the token's claim %s is no list of groups", ErrCredentials, i.groups)
		}
		names = []string{name}
	}
	if len(names) > maxGroups {
		return identity{}, fmt.Errorf("%w: the token has %d groups, allowed are %d", ErrCredentials, len(names), maxGroups)
	}
	for _, name := range names {
		if name = i.prefix + name; checkName(name) == nil && !slices.Contains(id.Groups, name) {
			id.Groups = append(id.Groups, name)
		}
	}
	return id, nil
}

var (
	errNoToken   = fmt.Errorf("%w: it is no signed token that can be accepted", ErrCredentials)
	errSignature = fmt.Errorf("%w: the token's signature is wrong", ErrCredentials)
)

// refusal says why claims are not accepted, without repeating them.
func refusal(err error) error {
	why := "its claims are not accepted"
	switch {
	case errors.Is(err, jwt.ErrExpired):
		why = "it has expired"
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		why = "it is not valid yet"
	case errors.Is(err, jwt.ErrInvalidAudience):
		why = "it is for another audience"
	case errors.Is(err, jwt.ErrInvalidIssuer):
		why = "it comes from another issuer"
	}
	return fmt.Errorf("%w: the token: %s", ErrCredentials, why)
}
