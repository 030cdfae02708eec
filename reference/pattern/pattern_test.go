package pattern

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/laminastore/lamina/reference"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct{ pattern, in, out string }{
		{"app", "app", "apps a/app app/a"},
		{"*", "app a", "a/b"},
		{"library/*", "library/debian", "library library/a/b other/a"},
		{"team/**", "team/a team/a/b", "team teams team2/a"},
		{"**", "a a/b a/b/c", ""},
		{"**/app", "app a/app a/b/app", "a/apps app/a"},
		{"team/**/app", "team/app team/a/app team/a/b/app", "app team team/a"},
		{"team-*/app", "team-a/app team-a-b/app", "team-a/b/app team/app"},
		{"*-*", "a-b a-b-c", "a a/b-c"},
		{"a*c", "abc ac abcc", "abd cab"},
		{"**/x/**", "x/a a/x/b a/b/x/c/d", "x a/x"},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range strings.Fields(c.in) {
			if !p.Matches(reference.Repository(name)) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.out) {
			if p.Matches(reference.Repository(name)) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	for _, s := range []string{
		"", "/", "a/", "/a", "a//b", "A", "a b", "..", "a/../b", "***", "a**", "**a/b", "**/**", "a/**/**/b", "-*", "*-", "a:b", "é",
		strings.Repeat("a", 256), "**/a/**/a/**/a/**/a/**", "a\n",
	} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q is taken", s)
		} else if len(s) < 100 && !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// asRegexp is a second implementation, to compare with.
func asRegexp(p string) *regexp.Regexp {
	segments := strings.Split(p, "/")
	var b strings.Builder
	b.WriteString("^")
	for i, seg := range segments {
		last := i == len(segments)-1
		switch {
		case seg == "**" && last:
			b.WriteString(".+")
		case seg == "**":
			b.WriteString("(?:.+/)?")
			continue
		default:
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(seg), `\*`, "[^/]*"))
		}
		if !last {
			b.WriteString("/")
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

func TestPatternsAreTheirRegularExpressions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "*", "**", "a*", "*b", "a*b"}), 1, 5).Draw(t, "pattern"), "/")
		name := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "aab", "abb", "c"}), 1, 6).Draw(t, "name"), "/")
		p, err := Parse(text)
		if err != nil {
			t.Skip(err)
		}
		if got, want := p.Matches(reference.Repository(name)), asRegexp(text).MatchString(name); got != want {
			t.Fatalf("%s matches %s: %v, want %v", text, name, got, want)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("team/**", "team/a")
	f.Add("**/*a*/**", "b/bab/a")
	f.Add("*", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		r, err := reference.ParseRepository(name)
		if err != nil {
			return
		}
		if got, want := p.Matches(r), asRegexp(text).MatchString(name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", text, name, got, want)
		}
	})
}
