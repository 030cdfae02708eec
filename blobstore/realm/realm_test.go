package realm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/reference"
)

func parse(t testing.TB, texts ...string) realm.Map {
	t.Helper()
	m, err := realm.Parse(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLongestPrefixOfWholePartsDecides(t *testing.T) {
	m := parse(t, "a=team,x/y/z", "b=team/app/secret", "default=team/public")
	for repo, want := range map[reference.Repository]realm.Name{
		"team": "a", "team/app": "a", "team/app/secret": "b", "team/app/secret/deep/er": "b",
		"team/public": realm.Default, "team/public/x": realm.Default,
		"teams": realm.Default, "tea": realm.Default, "team-2/app": realm.Default, "team/publicity": "a", "team/app/secrets": "a",
		"x/y": realm.Default, "x/y/z": "a", "x/y/z/0": "a", "other/team": realm.Default,
	} {
		if got := m.Of(repo); got != want {
			t.Errorf("%s is in %q, want %q", repo, got, want)
		}
	}
	if got := (realm.Map{}).Of("team/app"); got != realm.Default {
		t.Errorf("in the zero map: %q", got)
	}
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{nil, ""},
		{[]string{"", "  "}, ""},
		{[]string{"b=y,x", "a=z"}, "a=z b=x,y"},
		{[]string{"b=y a=z\tb=x"}, "a=z b=x,y"},
		{[]string{"a=x,x"}, "a=x"},
		{[]string{"a=x,x/y/z"}, "a=x"},
		{[]string{"a=x,x/y/z", "b=x/y"}, "a=x,x/y/z b=x/y"},
		{[]string{"default=x,y/z"}, ""},
		{[]string{"default=x/y,z", "a=x"}, "a=x default=x/y"},
	} {
		m := parse(t, c.texts...)
		if got := m.String(); got != c.want {
			t.Errorf("%q: %q, want %q", c.texts, got, c.want)
		}
		if again := parse(t, m.String()); !again.Equal(m) {
			t.Errorf("%q: read again it is %q", c.texts, again)
		}
		if again, err := realm.New(m.Realms()...); err != nil || !again.Equal(m) {
			t.Errorf("%q: made again of its realms it is %q, %v", c.texts, again, err)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	many := make([]string, realm.MaxPrefixes+1)
	for i := range many {
		many[i] = fmt.Sprintf("p%d", i)
	}
	for text, says := range map[string]string{
		"a":                               `"a": write NAME=PREFIX`,
		"=x":                              `"": use lower-case letters`,
		"A=x":                             `"A": use lower-case letters`,
		"a/b=x":                           `"a/b": use lower-case letters`,
		"a_b=x":                           `use lower-case letters`,
		"-a=x":                            `use lower-case letters`,
		strings.Repeat("a", 64) + "=x":    `has 64 characters, allowed are 63`,
		"a=":                              `"a": it has no prefix; write a=PREFIX`,
		"a=x,":                            `one of its prefixes is empty`,
		"a=x/":                            `ends with "/"; write whole parts`,
		"a=x/*":                           `ends with "*"; write whole parts`,
		"a=Team":                          `"a": prefix: invalid repository name "Team"`,
		"a=x=y":                           `invalid repository name "x=y"`,
		"a=../x":                          `invalid repository name`,
		"a=x b=y,x":                       `the prefix "x" is in "a" and in "b"`,
		"a=x default=x":                   `the prefix "x" is in "a" and in "default"`,
		"a=" + strings.Join(many, ","):    `more than 10000 prefixes`,
		"a=" + strings.Repeat("x", 4<<20): `bytes of realms`,
	} {
		_, err := realm.Parse(text)
		if !errors.Is(err, realm.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v does not say %q", text, err, says)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%.40q: the error has %d bytes", text, len(err.Error()))
		}
	}
}

// oracle is what the package comment says, in the plainest way.
func oracle(rs []realm.Realm, repo string) realm.Name {
	best, in := "", realm.Default
	for _, r := range rs {
		for _, p := range r.Prefixes {
			if (repo == p || strings.HasPrefix(repo, p+"/")) && len(p) > len(best) {
				best, in = p, r.Name
			}
		}
	}
	return in
}

// names are all repositories of up to four parts of two letters, and some that
// look like them.
func names() []string {
	all := []string{"a", "b", "aa", "ab"}
	for from := 0; len(all) < 4+16+64+256; {
		last := all[from:]
		from = len(all)
		for _, p := range last {
			for _, s := range []string{"a", "b", "aa", "ab"} {
				all = append(all, p+"/"+s)
			}
		}
	}
	return all
}

func TestMapIsWhatTheOracleSays(t *testing.T) {
	repos := names()
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() ([]realm.Realm, realm.Map) {
		taken := map[string]bool{}
		var rs []realm.Realm
		for _, name := range []realm.Name{"one", "two", realm.Default, "one"} {
			r := realm.Realm{Name: name}
			for range rng.IntN(6) {
				if p := repos[rng.IntN(rng.IntN(len(repos))+1)]; !taken[p] {
					taken[p] = true
					r.Prefixes = append(r.Prefixes, p)
				}
			}
			if len(r.Prefixes) > 0 {
				rs = append(rs, r)
			}
		}
		m, err := realm.New(rs...)
		if err != nil {
			t.Fatal(err)
		}
		return rs, m
	}
	for range 400 {
		rs, m := draw()
		for _, repo := range repos {
			if got, want := m.Of(reference.Repository(repo)), oracle(rs, repo); got != want {
				t.Fatalf("%+v: %s is in %q, want %q", rs, repo, got, want)
			}
		}
		// Maps are equal, and so are their forms, when they agree on everything.
		others, other := draw()
		if rng.IntN(2) == 0 {
			others = slices.Concat(rs, []realm.Realm{{Name: m.Of("b/b/b/b"), Prefixes: []string{"b/b/b/b"}}})
			var err error
			if other, err = realm.New(others...); err != nil {
				t.Fatal(err)
			}
		}
		agree := !slices.ContainsFunc(repos, func(repo string) bool { return oracle(rs, repo) != oracle(others, repo) })
		if m.Equal(other) != agree || (m.String() == other.String()) != agree {
			t.Fatalf("%q and %q: equal %v, agree %v", m, other, m.Equal(other), agree)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a=x", "a=x,y b=x/z", "default=x/y a=x", "a=x,", "=", "a==b", "a=x/y b=x a=x/y/z/w"} {
		f.Add(s, "x/y/z")
	}
	f.Fuzz(func(t *testing.T, text, repo string) {
		m, err := realm.Parse(text)
		if err != nil {
			if !errors.Is(err, realm.ErrInvalid) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again := parse(t, m.String())
		if !again.Equal(m) || again.String() != m.String() {
			t.Fatalf("%q: %q, read again %q", text, m, again)
		}
		if got, want := m.Of(reference.Repository(repo)), oracle(m.Realms(), repo); got != want {
			t.Fatalf("%q: %q is in %q, want %q", text, repo, got, want)
		}
	})
}
