package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

const app = "team/app"

// part decodes a part of a token.
func part(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// forged are tokens made of a good one, which somebody without the key can make.
func forged(t *testing.T, good string, public any) map[string]string {
	t.Helper()
	parts := strings.Split(good, ".")
	head, claims := part(t, good, 0), part(t, good, 1)
	kid, _ := head["kid"].(string)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(map[string]any)) string {
		c := part(t, good, 1)
		change(c)
		return parts[0] + "." + encode(t, c) + "." + parts[2]
	}
	return map[string]string{
		"alg none":                 encode(t, map[string]any{"alg": "none", "kid": kid}) + "." + parts[1] + ".",
		"alg none with signature":  encode(t, map[string]any{"alg": "none", "kid": kid}) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key": accesstest.SignWith(t, jose.HS256, der, kid, claims),
		"another key by its id":    accesstest.SignWith(t, jose.ES256, other, kid, claims),
		"later expiry":             with(func(c map[string]any) { c["exp"] = time.Now().Add(90 * time.Hour).Unix() }),
		"another subject":          with(func(c map[string]any) { c["sub"], c["who"] = "root", map[string]any{"kind": "user", "name": "owner"} }),
		"key in the header":        encode(t, map[string]any{"alg": "ES256", "kid": kid, "jwk": jose.JSONWebKey{Key: other.Public()}}) + "." + parts[1] + "." + parts[2],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"cut off":                  good[:len(good)-3],
		"a part too many":          good + ".x",
		"no token":                 "x",
		"empty":                    "",
		"too long":                 good + strings.Repeat("A", 20<<10),
		"id that is a path":        encode(t, map[string]any{"alg": "ES256", "kid": "../tags/x"}) + "." + parts[1] + "." + parts[2],
	}
}

func TestForgedTokensOfOurOwn(t *testing.T) {
	w := newWorld(t)
	good := token(t, w.Control, w.Owner, "repository:team/app:pull")
	if _, err := w.bearer(w.Control, t, good); err != nil {
		t.Fatal(err)
	}
	for name, tok := range forged(t, good, w.publicKey(t, good)) {
		if c, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrCredentials) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	// What an issuer signs is not ours, whatever it says of itself.
	claims := part(t, good, 1)
	if _, err := w.bearer(w.Control, t, w.Issuer.Sign(claims)); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("an issuer's: %v", err)
	}
}

// publicKey is the key in the record that a token's header names.
func (w *world) publicKey(t *testing.T, token string) any {
	t.Helper()
	r, _, err := w.bucket.Get(t.Context(), w.keyOf(t, token), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var rec struct {
		Key jose.JSONWebKey `json:"key"`
	}
	if err := json.NewDecoder(r).Decode(&rec); err != nil {
		t.Fatal(err)
	}
	if !rec.Key.IsPublic() {
		t.Fatal("the bucket has a secret key in it")
	}
	return rec.Key.Key
}

func (w *world) keyOf(t *testing.T, token string) string {
	return "keys/" + part(t, token, 0)["kid"].(string)
}

func TestTokensAreForWhatWasAskedAndAllowed(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		who    accesstest.Caller
		scopes []string
		may    string // in team/app
	}{
		{w.Owner, nil, ""},
		{w.Owner, []string{"repository:team/app:pull"}, "pull"},
		{w.Owner, []string{"repository:team/app:pull,push"}, "pull push"},
		{w.Owner, []string{"repository:team/app:pull", "repository:team/app:push"}, "pull push"},
		{w.Owner, []string{"repository:team/app:pull repository:team/app:delete"}, "pull delete"},
		{w.Owner, []string{"repository:team/app:*"}, "pull push delete"},
		{w.Owner, []string{"repository(plugin):team/app:pull"}, "pull"},
		{w.Owner, []string{"repository:team/other:*"}, ""},
		{w.Owner, []string{"thing:team/app:pull"}, ""},
		{w.Reader, []string{"repository:team/app:pull,push"}, "pull"},
		{w.Reader, []string{"repository:team/app:*"}, "pull"},
		{w.Stranger, []string{"repository:team/app:*"}, ""},
		{w.Anonymous, []string{"repository:team/app:pull"}, ""},
		{w.CI, []string{"repository:team/app:pull,push"}, "pull push"},
		{w.Robot, []string{"repository:team/app:pull,push"}, "pull"},
		{w.Node, []string{"repository:team/app:pull"}, "pull"},
	} {
		caller, err := w.bearer(w.Control, t, token(t, w.Control, c.who, c.scopes...))
		if err != nil {
			t.Errorf("%s %v: %v", c.who.Name, c.scopes, err)
			continue
		}
		var may []string
		for _, a := range []access.Action{access.Pull, access.Push, access.Delete} {
			if caller.May(a, app) {
				may = append(may, string(a))
			}
		}
		if got := strings.Join(may, " "); got != c.may || caller.Subject() != c.who.Subject {
			t.Errorf("%s with %v: %s may %q, want %q", c.who.Name, c.scopes, caller.Subject(), got, c.may)
		}
	}
}

func TestWhyACallerMayNot(t *testing.T) {
	w := newWorld(t)
	narrow, err := w.bearer(w.Control, t, token(t, w.Control, w.Owner, "repository:team/app:pull"))
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := w.bearer(w.Control, t, token(t, w.Control, w.Anonymous, "repository:open/app:pull"))
	if err != nil {
		t.Fatal(err)
	}
	operator, err := w.bearer(w.Control, t, token(t, w.Control, w.Operator, "registry:catalog:*"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.bearer(w.Control, t, token(t, w.Control, w.Operator, "role:operator:*", "role:node:*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want error
	}{
		{"in the scope", narrow.Check(access.Pull, app), nil},
		{"outside of it", narrow.Check(access.Push, app), access.ErrScope},
		{"not even with it", narrow.Check(access.Push, "other/app"), access.ErrDenied},
		{"catalog outside of the scope", narrow.CheckList(), access.ErrScope},
		{"role that it has not", narrow.CheckRole(access.Operator), access.ErrDenied},
		{"anonymous, open", nobody.Check(access.Pull, "open/app"), nil},
		{"anonymous, closed", nobody.Check(access.Pull, app), access.ErrAnonymous},
		{"anonymous, outside of the scope", nobody.Check(access.Pull, "open/other"), access.ErrScope},
		{"catalog", operator.CheckList(), nil},
		{"role outside of the scope", operator.CheckRole(access.Operator), access.ErrScope},
		{"role", all.CheckRole(access.Operator), nil},
		{"role that was asked for and is not had", all.CheckRole(access.Node), access.ErrDenied},
		{"context without a caller", access.From(t.Context()).Check(access.Pull, "open/app"), access.ErrAnonymous},
		{"context with one", access.From(access.With(t.Context(), narrow)).Check(access.Pull, app), nil},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestTheCatalogShowsWhatThePoliciesGive(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		who   accesstest.Caller
		shown string
	}{
		{w.Anonymous, "open/app"}, {w.Stranger, "open/app"}, {w.Reader, "open/app team/app"}, {w.Operator, "open/app other/app team/app"},
	} {
		direct, err := w.Control.Identify(t.Context(), c.who.Credentials())
		if err != nil {
			t.Fatal(err)
		}
		// crane and skopeo ask for a token that is for the catalog alone.
		listing, err := w.bearer(w.Control, t, token(t, w.Control, c.who, "registry:catalog:*"))
		if err != nil {
			t.Fatal(err)
		}
		other, err := w.bearer(w.Control, t, token(t, w.Control, c.who, "repository:team/app:pull"))
		if err != nil {
			t.Fatal(err)
		}
		for i, caller := range []*access.Caller{direct, listing, other} {
			var shown []string
			for _, r := range []reference.Repository{"open/app", "other/app", "team/app"} {
				if caller.Lists(r) {
					shown = append(shown, string(r))
				}
			}
			want := c.shown
			if i == 2 {
				want = ""
			}
			if got := strings.Join(shown, " "); got != want {
				t.Errorf("%s, %d: %q, want %q", c.who.Name, i, got, want)
			}
		}
	}
}

func TestTokensExpire(t *testing.T) {
	w := newWorld(t)
	tok := token(t, w.Control, w.Owner, "repository:team/app:pull")
	w.clock.turn(5 * time.Minute)
	if _, err := w.bearer(w.Control, t, tok); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	w.clock.turn(time.Minute + time.Second)
	if _, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrCredentials) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("afterwards: %v", err)
	}
}
