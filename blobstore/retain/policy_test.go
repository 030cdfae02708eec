package retain_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/laminastore/lamina/blobstore/retain"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference/pattern"
)

func TestARulesFile(t *testing.T) {
	got, err := retain.ParseRules("r.toml", []byte(`
# what builds leave behind
[[rules]]
name = "ci"
repositories = ["ci/**", "*/nightly"]
keep-last = 10
keep-younger = "1w2d12h"
keep-tags = ["v*", "latest"]
untagged-after = "36500d"

[[rules]]
repositories = ["**"]
`))
	want := retain.Rules{
		{Name: "ci", KeepLast: 10, KeepYounger: (9*24 + 12) * time.Hour, KeepTags: []string{"v*", "latest"}, UntaggedAfter: 36500 * day},
		{Name: "2"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(retain.Rule{}, "Repositories")); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if len(got) == 2 && (len(got[0].Repositories) != 2 || got[0].Repositories[1].String() != "*/nightly") {
		t.Errorf("%v", got[0].Repositories)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	head := "[[rules]]\nrepositories = [\"a\"]\n"
	for _, c := range []struct{ text, says string }{
		{"rules = 3", "r.toml"},
		{"[[rules]\n", "r.toml:2"},
		{"[[rules]]\n", "r.toml:1: rules[0].repositories"},
		{"[[rules]]\nrepositories = []\n", "r.toml:2"},
		{"[[rules]]\nrepositories = [\"A\"]\n", "r.toml:2"},
		{head + "keep-lats = 3\n", "r.toml:3: rules[0].keep-lats: there is no such key: see docs/retention.md"},
		{head + head + "\nKEEP = 3\n", "r.toml:6: rules[1].keep"},
		{"[rule]\n", "r.toml:1: rule"},
		{head + "keep-last = 0\n", "r.toml:3"},
		{head + "keep-last = -1\n", "leave it out"},
		{head + "keep-last = 1000001\n", "1000000"},
		{head + "keep-last = \"3\"\n", "r.toml"},
		{head + "keep-tags = []\n", "r.toml:3"},
		{head + "keep-tags = [\"v 1\"]\n", "r.toml:3"},
		{head + "keep-tags = [\"\"]\n", "r.toml:3"},
		{head + "keep-tags = [\"[ab]\"]\n", "wildcard *"},
		{head + "keep-younger = \"\"\n", "r.toml:3"},
		{head + "keep-younger = \"3\"\n", `"30d"`},
		{head + "keep-younger = \"d\"\n", "r.toml:3"},
		{head + "keep-younger = \"3m\"\n", "r.toml:3"},
		{head + "keep-younger = \"-3d\"\n", "r.toml:3"},
		{head + "keep-younger = \"1.5d\"\n", "r.toml:3"},
		{head + "keep-younger = \"3d3d\"\n", "r.toml:3"},
		{head + "keep-younger = \"3h3d\"\n", "r.toml:3"},
		{head + "keep-younger = \"0d\"\n", "shorter than an hour"},
		{head + "keep-younger = \"36501d\"\n", "longer than 100 years"},
		{head + "keep-younger = \"5214w3d\"\n", "longer than 100 years"},
		{head + "keep-younger = \"99999999999999999999d\"\n", "r.toml:3"},
		{head + "untagged-after = \"59s\"\n", "r.toml:3: rules[0].untagged-after"},
		{head + "name = \"" + strings.Repeat("x", 65) + "\"\n", "r.toml:3"},
		{head + "name = \"a\\nb\"\n", "r.toml:3"},
		{strings.Repeat(head, 501), "allowed are 500"},
	} {
		_, err := retain.ParseRules("r.toml", []byte(c.text))
		if !errors.Is(err, retain.ErrConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80q: %v, want %q", c.text, err, c.says)
		}
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	_, err := retain.ParseRules("r.toml", []byte("[[rules]]\nrepositories = [\"a\"]\nkeep-last = 0\nkeep-younger = \"x\"\n"))
	if err == nil || !strings.Contains(err.Error(), "r.toml:3:") || !strings.Contains(err.Error(), "r.toml:4:") {
		t.Error(err)
	}
}

func TestTheFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "retention.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	w.image("i", "a", "b", "c")
	if _, err := retain.Open(file, storetest.Quiet()); !errors.Is(err, retain.ErrConfig) {
		t.Errorf("a file that is not there: %v", err)
	}
	write("[[rules]]\nrepositories = [\"**\"]\nkeep-tags = [\"a\", \"b\"]\n")
	p, err := retain.Open(file, storetest.Quiet())
	w.must(err)
	w.apply(p, false)
	if tags, _ := w.there(); tags != "a b" {
		t.Errorf("left: %s", tags)
	}

	// A mistake keeps everything, and whoever applies the rules is told.
	write("[[rules]]\nrepositories = [\"**\"]\nkeep-tag = [\"b\"]\n")
	err = w.retainer(p).Apply(t.Context(), false, func(f retain.Finding) { t.Errorf("%+v", f) })
	if !errors.Is(err, retain.ErrConfig) || !strings.Contains(err.Error(), ":3:") {
		t.Errorf("a mistake: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := w.retainer(p).Apply(t.Context(), false, nil); !errors.Is(err, retain.ErrConfig) {
		t.Errorf("a file that has gone: %v", err)
	}
	write("[[rules]]\nrepositories = [\"**\"]\nkeep-tags = [\"b\"]\n")
	w.apply(p, false)
	if tags, _ := w.there(); tags != "b" {
		t.Errorf("left: %s", tags)
	}
}

func FuzzRules(f *testing.F) {
	f.Add([]byte("[[rules]]\nname = \"ci\"\nrepositories = [\"ci/**\"]\nkeep-last = 3\nkeep-younger = \"1w2d3h\"\nkeep-tags = [\"v*\"]\nuntagged-after = \"7d\"\n"))
	f.Add([]byte("[[rules]]\nrepositories = [\"**\"]\nuntagged-after = \"100000d\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, err := retain.ParseRules("r.toml", text)
		if err != nil {
			if !errors.Is(err, retain.ErrConfig) {
				t.Fatal(err)
			}
			return
		}
		for _, r := range rules {
			for _, age := range []time.Duration{r.KeepYounger, r.UntaggedAfter} {
				if age != 0 && (age < time.Hour || age > 36500*day || age%time.Hour != 0) {
					t.Fatalf("an age of %v", age)
				}
			}
			if r.KeepLast < 0 || len(r.Repositories) == 0 || len(r.Name) > 64 {
				t.Fatalf("%+v", r)
			}
			for _, p := range r.Repositories {
				if _, err := pattern.Parse(p.String()); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
