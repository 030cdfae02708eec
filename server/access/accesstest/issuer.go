package accesstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Audience is whom an Issuer's tokens are for.
const Audience = "lamina-test"

// An Issuer is a small OpenID Connect provider that serves its discovery
// document and keys over TLS. Safe for concurrent use.
type Issuer struct {
	URL    string
	CAFile string // of its server's certificate
	Now    func() time.Time

	// Fetches counts how often keys were asked for. Down makes it answer 500.
	Fetches atomic.Int64
	Down    atomic.Bool

	t    testing.TB
	mu   sync.Mutex
	keys []*ecdsa.PrivateKey // the last one signs
	ids  []string
}

// NewIssuer starts an issuer, which ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, Now: time.Now}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Fetches.Add(1)
		i.answer(w, i.JWKS())
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	i.URL = s.URL
	i.CAFile = filepath.Join(t.TempDir(), "issuer-ca.pem")
	writeFile(t, i.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return i
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.Down.Load() {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// JWKS are the public keys.
func (i *Issuer) JWKS() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for n, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: i.ids[n], Algorithm: "ES256", Use: "sig"})
	}
	return set
}

// Rotate signs with a fresh key from now on. Forget takes the others back.
func (i *Issuer) Rotate() {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(i.t, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys, i.ids = append(i.keys, k), append(i.ids, rand.Text())
}

// Forget takes all keys back but the one that signs.
func (i *Issuer) Forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	last := len(i.keys) - 1
	i.keys, i.ids = i.keys[last:], i.ids[last:]
}

// Claims are those of a good token about subject, to change before they are
// signed.
func (i *Issuer) Claims(subject string, groups ...string) map[string]any {
	now := i.Now()
	return map[string]any{
		"iss": i.URL, "aud": Audience, "sub": subject, "groups": groups,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Token is a good token about subject.
func (i *Issuer) Token(subject string, groups ...string) string {
	return i.Sign(i.Claims(subject, groups...))
}

// Sign signs claims. Those that are nil are left out.
func (i *Issuer) Sign(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	key, id := i.keys[len(i.keys)-1], i.ids[len(i.ids)-1]
	i.mu.Unlock()
	return SignWith(i.t, jose.ES256, key, id, claims)
}

// SignWith signs claims with any key, as somebody might who is not the issuer.
func SignWith(t testing.TB, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	claims = maps.Clone(claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	must(t, err)
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return token
}

// KeyID is the id of the key that signs.
func (i *Issuer) KeyID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ids[len(i.ids)-1]
}

// PublicKey is the public half of the key that signs.
func (i *Issuer) PublicKey() crypto.PublicKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1].Public()
}
