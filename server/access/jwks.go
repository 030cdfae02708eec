package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	maxJWKS     = 1 << 20 // bytes
	maxJWKSKeys = 100
	maxRSABits  = 8192 // what a larger key signed would take long to check
	minRSABits  = 2048

	// keysFresh is how long keys are used before they are asked for again, so
	// that one that an issuer takes back goes out of use.
	keysFresh = 10 * time.Minute
	// keysStale is how long they are used while the issuer does not answer.
	keysStale = 24 * time.Hour
	// askAgain is how long nobody asks for what was asked for in vain.
	askAgain = time.Second
)

// parseJWKS reads a JSON Web Key Set (RFC 7517). It leaves out what it does not
// know, and secret and symmetric keys: an HMAC under a key that is published
// proves nothing.
func parseJWKS(data []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("it is no JSON Web Key Set: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("it is no JSON Web Key Set: it has no keys")
	}
	if len(set.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("it has %d keys, allowed are %d", len(set.Keys), maxJWKSKeys)
	}
	var out []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && (k.Use == "" || k.Use == "sig") && isPublic(k.Key) {
			out = append(out, k)
		}
	}
	return out, nil
}

func isPublic(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// An issuerKeys has the public keys of an issuer. Safe for concurrent use.
type issuerKeys struct {
	fetch func(context.Context) ([]jose.JSONWebKey, error) // nil: they never change
	now   func() time.Time
	one   singleflight.Group

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys came; zero: never
	tried   time.Time // when they were asked for last
	err     error     // what came of that
}

// withID returns the keys that may have signed a token that names the key id;
// all when it names none. Unknown ids make it ask the issuer, once a second at
// most. Errors: ErrCredentials when the issuer has no such key, ErrUnavailable
// when it does not say.
func (k *issuerKeys) withID(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	if found, fresh := k.known(id); k.fetch == nil || len(found) > 0 && fresh {
		return found, noKey(found, id)
	}
	done := k.one.DoChan("", func() (any, error) {
		k.refresh(context.WithoutCancel(ctx))
		return nil, nil
	})
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found, _ := k.known(id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(found) == 0 && k.err != nil {
		return nil, fmt.Errorf("%w: the keys of the issuer cannot be had: %w", ErrUnavailable, k.err)
	}
	return found, noKey(found, id)
}

// refresh asks the issuer, unless somebody did a moment ago.
func (k *issuerKeys) refresh(ctx context.Context) {
	k.mu.Lock()
	now := k.now()
	soon := !k.tried.IsZero() && now.Sub(k.tried) < askAgain
	if !soon {
		k.tried = now
	}
	k.mu.Unlock()
	if soon {
		return
	}
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err = err; err == nil {
		k.keys, k.fetched = keys, now
	}
}

// known returns those of the keys at hand, and whether they are fresh.
func (k *issuerKeys) known(id string) (found []jose.JSONWebKey, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	if k.fetch != nil && (k.fetched.IsZero() || age > keysStale) {
		return nil, false
	}
	for _, key := range k.keys {
		if id == "" || key.KeyID == id {
			found = append(found, key)
		}
	}
	return found, age < keysFresh
}

func noKey(found []jose.JSONWebKey, id string) error {
	if len(found) > 0 {
		return nil
	}
	return fmt.Errorf("%w: the token's issuer has no key %.64q", ErrCredentials, id)
}
