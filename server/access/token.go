package access

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// tokenIssuer is who our own tokens come from. It is no URL, so that no issuer
// in a configuration can be called so.
const tokenIssuer = "lamina"

// tokenClaims are what a token says beside the registered claims.
type tokenClaims struct {
	Access []Scope  `json:"access"` // as Docker's registries have it
	Who    identity `json:"who"`
}

// A tokenMaker signs and checks this server's own kind of token.
type tokenMaker struct {
	keys *keyring
	now  func() time.Time
}

// make signs a token for id, for what is in scopes, that is good for lifetime.
// Errors: ErrUnavailable; ctx's.
func (m *tokenMaker) make(ctx context.Context, cfg *config, id identity, scopes []Scope) (token string, issued time.Time, err error) {
	issued = m.now().Truncate(time.Second).UTC()
	expires := issued.Add(cfg.lifetime)
	key, err := m.keys.signer(ctx, expires)
	if err != nil {
		return "", issued, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.secret, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", issued, fmt.Errorf("sign a token: %w", err)
	}
	if scopes == nil {
		scopes = []Scope{}
	}
	token, err = jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: tokenIssuer, Subject: id.String(), Audience: jwt.Audience{cfg.service}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(issued), Expiry: jwt.NewNumericDate(expires),
	}).Claims(tokenClaims{Access: scopes, Who: id}).Serialize()
	if err != nil {
		return "", issued, fmt.Errorf("sign a token: %w", err)
	}
	return token, issued, nil
}

// verify checks a token of this server or of another of the bucket, and says
// whose it is, and for what. When it was issued is not looked at: the clock of a
// server of one's own may be ahead by more than the leeway.
// Errors: ErrCredentials, ErrUnavailable; ctx's.
func (m *tokenMaker) verify(ctx context.Context, cfg *config, raw string) (identity, *scopeSet, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(token.Headers) != 1 {
		return identity{}, nil, errNoToken
	}
	key, err := m.keys.public(ctx, token.Headers[0].KeyID)
	if err != nil {
		return identity{}, nil, err
	}
	var claims jwt.Claims
	var own tokenClaims
	if token.Claims(key, &claims, &own) != nil {
		return identity{}, nil, errSignature
	}
	if claims.Expiry == nil {
		return identity{}, nil, errNoToken
	}
	claims.IssuedAt = nil
	want := jwt.Expected{Issuer: tokenIssuer, AnyAudience: jwt.Audience{cfg.service}, Time: m.now()}
	if err := claims.ValidateWithLeeway(want, leeway); err != nil {
		return identity{}, nil, refusal(err)
	}
	return own.Who, newScopeSet(own.Access), nil
}
