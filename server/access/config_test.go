package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/laminastore/lamina/internal/reload"
	"github.com/laminastore/lamina/internal/tomlfile"
)

// hashOf is a line of a file of users.
func hashOf(t testing.TB, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

func writeAll(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{
		"users": "", "md5": "# users\n\nalice:$apr1$x$y\n", "twice": hashOf(t, "a", "1") + hashOf(t, "a", "2"), "no-ca": "nothing", "no-keys": `{"keys":[]}`,
		"dear": "alice:$2y$15$" + strings.Repeat("a", 53) + "\n", "odd": hashOf(t, "_token", "x"), "secret-keys": `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
	})
	for _, c := range []struct {
		name, text string
		line       int
		says       string
	}{
		{"no TOML", "[users]\nhtpasswd = \n", 2, ""},
		{"unknown table", "# x\n[user]\nhtpasswd = \"users\"\n", 2, "user"},
		{"unknown key", "[tokens]\nlifetime = \"5m\"\n\nlifetimes = \"5m\"\n", 4, "lifetimes"},
		{"unknown key in the second policy", pol("user:a", "a", "pull") + "[[policies]]\nsubject = [\"user:a\"]\n", 6, "subject"},
		{"key twice", "[tokens]\nservice = \"a\"\nservice = \"b\"\n", 3, "service"},
		{"another type", "[users]\nhtpasswd = 1\n", 0, `line 2 (last key "users.htpasswd")`},
		{"no users' file", "[users]\nhtpasswd = \"none\"\n", 2, "none"},
		{"users without a file", "\n[users]\n", 2, "htpasswd"},
		{"other hashes", "[users]\nhtpasswd = \"md5\"\n", 3, "alice is not hashed by bcrypt"},
		{"a user twice", "[users]\nhtpasswd = \"twice\"\n", 2, "twice"},
		{"dear hashes", "[users]\nhtpasswd = \"dear\"\n", 1, "cost"},
		{"a user called like tokens", "[users]\nhtpasswd = \"odd\"\n", 1, "_token"},
		{"a short life", "[tokens]\nlifetime = \"5s\"\n", 2, "5s"},
		{"a life that is none", "[tokens]\nlifetime = \"five\"\n", 2, "five"},
		{"a service with quotes", "[tokens]\nservice = 'a\"b'\n", 2, "service"},
		{"a realm without a host", "[tokens]\nrealm = \"/v2/token\"\n", 2, "realm"},
		{"plain issuer", "[[issuers]]\nissuer = \"http://issuer.example\"\naudience = \"a\"\n", 2, "https"},
		{"no audience", "[[issuers]]\nissuer = \"https://issuer.example\"\n", 1, "made for others"},
		{"issuer twice", strings.Repeat("[[issuers]]\nissuer = \"https://issuer.example\"\naudience = \"a\"\n", 2), 5, "twice"},
		{"plain keys", "[[issuers]]\nissuer = \"https://i.example\"\naudience = \"a\"\njwks = \"http://i.example/keys\"\n", 4, "https"},
		{"keys without a key", "[[issuers]]\nissuer = \"https://i.example\"\naudience = \"a\"\njwks = \"no-keys\"\n", 4, "no public key"},
		{"symmetric keys", "[[issuers]]\nissuer = \"https://i.example\"\naudience = \"a\"\njwks = \"secret-keys\"\n", 4, "no public key"},
		{"keys that are none", "[[issuers]]\nissuer = \"https://i.example\"\naudience = \"a\"\njwks = \"users\"\n", 4, "Key Set"},
		{"authorities that are none", "[certificates]\nca = \"no-ca\"\n", 2, "PEM"},
		{"no authorities", "[certificates]\n", 1, "ca"},
		{"group in a group", "[groups]\na = [\"user:x\"]\nb = [\n  \"user:x\",\n  \"group:a\",\n]\n", 3, "group:a"},
		{"anonymous in a group", "[groups]\na = [\"anonymous\"]\n", 2, "anonymous"},
		{"unknown group", pol("group:gone", "a", "pull"), 2, "gone"},
		{"subject of no kind", pol("alice", "a", "pull"), 2, "alice"},
		{"any user", pol("user:*", "a", "pull"), 2, "user:*"},
		{"any issuer", pol("oidc:https://*#x", "a", "pull"), 2, "after the #"},
		{"any oidc subject", pol("oidc:*", "a", "pull"), 2, "after the #"},
		{"name with a space", pol("user:a b", "a", "pull"), 2, "spaces"},
		{"pattern that is none", pol("user:a", "A/**", "pull"), 3, "A/**"},
		{"action that is none", pol("user:a", "a", "pul"), 4, "pul"},
		{"policy without actions", "[[policies]]\nsubjects = [\"user:a\"]\nrepositories = [\"a\"]\n", 1, "actions"},
		{"policy for nobody", "[[policies]]\nsubjects = []\nrepositories = [\"a\"]\nactions = [\"pull\"]\n", 2, "empty"},
		{"role that is none", "[[roles]]\nrole = \"root\"\nsubjects = [\"user:a\"]\n", 2, "root"},
		{"anonymous without repositories", "[anonymous]\nactions = [\"pull\"]\n", 1, "repositories"},
		{"too many policies", strings.Repeat(pol("user:a", "a", "pull"), maxTables+1), 1, "allowed are"},
		{"too large", "#" + strings.Repeat("x", maxConfigSize), 0, "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, "access.toml")
			writeAll(t, dir, map[string]string{"access.toml": c.text})
			_, err := loadConfig(file, &reload.Files{})
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("got %v", err)
			}
			at := fmt.Sprintf(":%d: ", c.line)
			if c.line > 0 && !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the error should say %q at line %d: %v", c.says, c.line, err)
			}
			if strings.Contains(err.Error(), "$2") {
				t.Errorf("the error has a hash in it: %v", err)
			}
		})
	}
}

func pol(subject, repository, action string) string {
	return fmt.Sprintf("[[policies]]\nsubjects = [%q]\nrepositories = [%q]\nactions = [%q]\n", subject, repository, action)
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"a.toml": pol("alice", "A", "pul") + strings.Repeat(pol("bob", "b", "push"), 40)})
	_, err := loadConfig(filepath.Join(dir, "a.toml"), &reload.Files{})
	if err == nil {
		t.Fatal("taken")
	}
	for _, s := range []string{":2:", ":3:", ":4:", ":6:", "and more"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("no %q in %v", s, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n > tomlfile.MaxErrors {
		t.Errorf("%d lines", n)
	}
}

func TestAnEmptyConfigurationOpensNothing(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"a.toml": "# nothing\n"})
	cfg, err := loadConfig(filepath.Join(dir, "a.toml"), &reload.Files{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []identity{anonymous, {Kind: kindUser, Name: "root"}, {Kind: kindCertificate, Name: "*"}} {
		c := cfg.rules.caller(id, nil)
		if c.May(Pull, "a") || c.May(Push, "a") || c.May(Delete, "a") || c.MayList() || c.Is(Node) || c.Is(Operator) || c.NodeID() != "" {
			t.Errorf("%s may do something", id)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(pol("user:a", "a/**", "pull")))
	f.Add([]byte("[anonymous]\nrepositories = [\n 'a', # ]\n \"\"\"b\"\"\"]\n[[roles]]\nrole='node'\nsubjects=['cert:*']\n[groups]\n\"a b\".c = []\n"))
	f.Add([]byte("[tokens]\nlifetime = \"5m\"\nrealm=\"https://x/\"\n[[issuers]]\nissuer='https://x'\naudience='y'\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		file, src, err := decode("access.toml", text)
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatal(err)
			}
			return
		}
		if file.Users != nil || file.Certificates != nil {
			return // they read files
		}
		for _, i := range file.Issuers {
			if i.JWKS != "" || i.CA != "" {
				return
			}
		}
		l := &loader{Source: src, dir: dir, files: &reload.Files{}, cfg: &config{}}
		l.check(file)
		if err := l.problems(); err != nil {
			return
		}
		// What nobody was given, nobody has.
		if c := l.cfg.rules.caller(anonymous, nil); c.May(Pull, "a/b") && file.Anonymous == nil && len(file.Policies) == 0 {
			t.Fatal("open, and no policy opened it")
		}
	})
}

func FuzzHtpasswd(f *testing.F) {
	f.Add([]byte("alice:$2y$05$" + strings.Repeat("a", 53) + "\n# x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := parseHtpasswd("htpasswd", text)
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatal(err)
			}
			return
		}
		for name, hash := range u.hashes {
			if !userRE.MatchString(name) || len(hash) != 60 {
				t.Fatalf("%q: %q", name, hash)
			}
		}
	})
}
