package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestTokensOfAnIssuer(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	for _, c := range []struct {
		name   string
		change func(map[string]any)
		says   string // "" when the token is good
	}{
		{"good", func(map[string]any) {}, ""},
		{"several audiences", func(c map[string]any) { c["aud"] = []string{"x", accesstest.Audience} }, ""},
		{"expired within the leeway", func(c map[string]any) { c["exp"] = now.Add(-50 * time.Second).Unix() }, ""},
		{"valid within the leeway", func(c map[string]any) { c["nbf"] = now.Add(50 * time.Second).Unix() }, ""},
		{"without nbf and iat", func(c map[string]any) { c["nbf"], c["iat"] = nil, nil }, ""},
		{"one group as text", func(c map[string]any) { c["groups"] = "pipelines" }, ""},
		{"expired", func(c map[string]any) { c["exp"] = now.Add(-2 * time.Minute).Unix() }, "expired"},
		{"never expires", func(c map[string]any) { c["exp"] = nil }, "never expires"},
		{"not valid yet", func(c map[string]any) { c["nbf"] = now.Add(2 * time.Minute).Unix() }, "not valid yet"},
		{"issued in the future", func(c map[string]any) { c["iat"] = now.Add(2 * time.Minute).Unix() }, "not valid yet"},
		{"another audience", func(c map[string]any) { c["aud"] = "other" }, "audience"},
		{"no audience", func(c map[string]any) { c["aud"] = nil }, "audience"},
		{"another issuer", func(c map[string]any) { c["iss"] = "https://other.example" }, "issuer"},
		{"issuer with a slash", func(c map[string]any) { c["iss"] = w.Issuer.URL + "/" }, "issuer"},
		{"no issuer", func(c map[string]any) { c["iss"] = nil }, "issuer"},
		{"ours, it says", func(c map[string]any) { c["iss"] = "lamina" }, "no signed token"},
		{"no subject", func(c map[string]any) { c["sub"] = nil }, "subject"},
		{"subject with a line", func(c map[string]any) { c["sub"] = "ci\nroot" }, "subject"},
		{"subject that is a number", func(c map[string]any) { c["sub"] = 7 }, "signature"},
		{"groups that are none", func(c map[string]any) { c["groups"] = map[string]any{"a": 1} }, "groups"},
	} {
		claims := w.Issuer.Claims("ci", "pipelines")
		c.change(claims)
		caller, err := w.bearer(w.Control, t, w.Issuer.Sign(claims))
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says == "" && (caller.Subject() != "oidc:"+w.Issuer.URL+"#ci" || !caller.May(access.Push, app) || caller.May(access.Delete, app)):
			t.Errorf("%s: it is %s", c.name, caller.Subject())
		case c.says != "" && (!errors.Is(err, access.ErrCredentials) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestForgedTokensOfAnIssuer(t *testing.T) {
	w := newWorld(t)
	for name, tok := range forged(t, w.Issuer.Token("ci", "pipelines"), w.Issuer.PublicKey()) {
		if c, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrCredentials) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestAGroupIsNotAnotherIssuersToSay(t *testing.T) {
	w := newWorld(t)
	w.edit(t, "groups = \"groups\"\n", "groups = \"groups\"\ngroup-prefix = \"ci-\"\n")
	c, err := w.bearer(w.Control, t, w.Issuer.Token("ci", "pipelines"))
	if err != nil {
		t.Fatal(err)
	}
	if c.May(access.Pull, app) {
		t.Error("the prefix is left out")
	}
	w.edit(t, "group:pipelines", "group:ci-pipelines")
	if c, err = w.bearer(w.Control, t, w.Issuer.Token("ci", "pipelines")); err != nil || !c.May(access.Pull, app) {
		t.Errorf("with the prefix: %v", err)
	}
}

func TestAnIssuersKeysAreAskedForRarely(t *testing.T) {
	w := newWorld(t)
	good := func() error {
		_, err := w.bearer(w.Control, t, w.Issuer.Token("ci"))
		return err
	}
	fetched := func(want int64) {
		t.Helper()
		if n := w.Issuer.Fetches.Swap(0); n != want {
			t.Errorf("its keys were asked for %d times, want %d", n, want)
		}
	}
	for range 20 {
		if err := good(); err != nil {
			t.Fatal(err)
		}
	}
	fetched(1)

	// Whoever makes up ids of keys makes us ask once a second.
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := func() error {
		_, err := w.bearer(w.Control, t, accesstest.SignWith(t, jose.ES256, k, rand.Text(), w.Issuer.Claims("ci")))
		return err
	}
	w.clock.turn(time.Second)
	for range 20 {
		if err := forged(); !errors.Is(err, access.ErrCredentials) {
			t.Fatal(err)
		}
	}
	fetched(1)

	// A new key is found at once.
	w.clock.turn(time.Second)
	w.Issuer.Rotate()
	if err := good(); err != nil {
		t.Error(err)
	}
	fetched(1)
	if err := w.Control.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := good(); err != nil {
		t.Error(err)
	}
	fetched(0)
}

func TestAKeyThatAnIssuerTakesBack(t *testing.T) {
	w := newWorld(t)
	old := w.Issuer.Token("ci")
	if _, err := w.bearer(w.Control, t, old); err != nil {
		t.Fatal(err)
	}
	w.Issuer.Rotate()
	w.Issuer.Forget()
	w.clock.turn(10*time.Minute + time.Second)
	if _, err := w.bearer(w.Control, t, old); !errors.Is(err, access.ErrCredentials) {
		t.Error(err)
	}
}

func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.Issuer.Down.Store(true)
	tok := w.Issuer.Token("ci")
	if _, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("from the start: %v", err)
	}
	if !strings.Contains(w.log.String(), "500") {
		t.Errorf("the log does not say why: %s", w.log)
	}
	// Others are let in meanwhile.
	if _, err := w.Control.Identify(t.Context(), w.Reader.Credentials()); err != nil {
		t.Error(err)
	}
	w.Issuer.Down.Store(false)
	w.clock.turn(time.Second)
	if _, err := w.bearer(w.Control, t, tok); err != nil {
		t.Fatal(err)
	}
	// Keys that are known are used while it is away, for a day.
	w.Issuer.Down.Store(true)
	w.clock.turn(30 * time.Minute)
	if _, err := w.bearer(w.Control, t, tok); err != nil {
		t.Errorf("half an hour later: %v", err)
	}
	w.clock.turn(24 * time.Hour)
	if _, err := w.bearer(w.Control, t, w.Issuer.Token("ci")); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("a day later: %v", err)
	}
}

func TestAnIssuersKeysFromAFile(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(filepath.Dir(w.File), "keys.json")
	write := func() {
		raw, err := json.Marshal(w.Issuer.JWKS())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	w.Issuer.Down.Store(true)
	w.edit(t, "groups = \"groups\"", "groups = \"groups\"\njwks = \"keys.json\"")
	if _, err := w.bearer(w.Control, t, w.Issuer.Token("ci")); err != nil {
		t.Error(err)
	}
	w.Issuer.Rotate()
	if _, err := w.bearer(w.Control, t, w.Issuer.Token("ci")); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("a key that is not in the file: %v", err)
	}
	write()
	if err := w.Control.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bearer(w.Control, t, w.Issuer.Token("ci")); err != nil {
		t.Errorf("once it is: %v", err)
	}
}
