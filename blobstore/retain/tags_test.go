package retain_test

import (
	"fmt"
	"strings"
	"testing"
)

// Each tag is written on a day of its own, in the order given, and the rule is
// applied a day after the last.
func TestTagsThatAreKept(t *testing.T) {
	for name, c := range map[string]struct{ tags, rule, kept string }{
		"no rule about tags":     {"a b c", `untagged-after = "1w"`, "a b c"},
		"no rule at all":         {"a b c", ``, "a b c"},
		"the last":               {"c a b d", `keep-last = 2`, "b d"},
		"fewer than the last":    {"c a", `keep-last = 3`, "a c"},
		"younger":                {"a b c d", `keep-younger = "3d"`, "c d"},
		"exactly as old is old":  {"a b", `keep-younger = "2d"`, "b"},
		"that match":             {"v1 v2 latest ci-1", `keep-tags = ["v*", "latest"]`, "latest v1 v2"},
		"a star inside":          {"v1-rc v1 v2-rc", `keep-tags = ["v*-rc"]`, "v1-rc v2-rc"},
		"a name without a star":  {"v1 v11", `keep-tags = ["v1"]`, "v1"},
		"all":                    {"a b", `keep-tags = ["*"]`, "a b"},
		"any one is enough":      {"v1 a b c", "keep-last = 1\nkeep-younger = \"3d\"\nkeep-tags = [\"v*\"]", "b c v1"},
		"the last of all":        {"v1 a v2", "keep-last = 1\nkeep-tags = [\"v1\"]", "v1 v2"},
		"capitals are not small": {"V1 v1", `keep-tags = ["v*"]`, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, tag := range strings.Fields(c.tags) {
				w.image("image of "+tag, tag)
				w.days(1)
			}
			p := rule(t, c.rule)
			w.apply(p, true)
			if tags, _ := w.there(); len(strings.Fields(tags)) != len(strings.Fields(c.tags)) {
				t.Errorf("a dry run has left %s", tags)
			}
			w.apply(p, false)
			if tags, _ := w.there(); tags != c.kept {
				t.Errorf("kept: %q, want %q", tags, c.kept)
			}
		})
	}
}

func TestTagsOfOneMomentAreKeptByName(t *testing.T) {
	w := newWorld(t)
	w.image("i", "d", "a", "c", "b")
	w.apply(rule(t, `keep-last = 2`), false)
	if tags, _ := w.there(); tags != "a b" {
		t.Error(tags)
	}
}

func TestATagThatIsMovedOrPushedAgainIsYoung(t *testing.T) {
	w := newWorld(t)
	w.image("one", "moved", "again", "old")
	w.days(10)
	w.image("two", "moved")
	_, im, _ := w.server() // one that has never seen the tag
	w.must(w.push(im, w.store, "one", "again"))
	w.days(1)
	w.apply(rule(t, `keep-younger = "5d"`), false)
	if tags, _ := w.there(); tags != "again moved" {
		t.Error(tags)
	}
}

func TestTheFirstRuleThatMatchesCounts(t *testing.T) {
	w := newWorld(t)
	w.image("i", "a", "b")
	p := rules(t, `
[[rules]]
repositories = ["other/**"]
keep-tags = ["a"]
[[rules]]
name = "all that is kept"
repositories = ["demo/*"]
[[rules]]
repositories = ["**"]
keep-tags = ["b"]
`)
	if fs := w.apply(p, false); len(fs) != 0 {
		t.Errorf("a rule that removes nothing looks at nothing: %v", fs)
	}
	w.apply(nil, false)
	if tags, _ := w.there(); tags != "a b" {
		t.Error(tags)
	}
}

// What a dry run says of each tag and each manifest.
func TestReasons(t *testing.T) {
	w := newWorld(t)
	w.image("base", "v1", "latest")
	w.days(20)
	w.image("old", "ci-1")
	w.days(4)
	w.image("new", "ci-2")
	w.image("child")
	w.index("index", "child", "multi")
	w.referrer("signature", "base")
	w.image("loose")
	w.days(1)
	fs := w.apply(rules(t, `
[[rules]]
name = "ci"
repositories = ["**"]
keep-last = 2
keep-younger = "3d"
keep-tags = ["v*"]
untagged-after = "7d"
`), true)
	for name, want := range map[string]string{
		"tag v1":     `keep: it matches "v*"`,
		"tag latest": "remove: it matches none of keep-tags, 3 tags were written after it, it was written 25 days ago",
		"tag ci-1":   "remove: it matches none of keep-tags, 2 tags were written after it, it was written 5 days ago",
		"tag ci-2":   "keep: it is number 1 of the last 2 that are kept",
		"base":       "keep: tag v1 names it",
		"old":        "keep: no tag has named it for less than an hour, until 2026-04-02",
		"new":        "keep: tag ci-2 names it",
		"child":      "keep: index " + string(w.named["index"].Digest) + " names it",
		"index":      "keep: tag multi names it",
		"signature":  "keep: its subject " + string(w.named["base"].Digest) + " is there",
		"loose":      "keep: it was pushed 24 hours ago, and no tag names it, until 2026-04-01",
	} {
		f, ok := fs[name]
		got := "keep: "
		if f.Remove {
			got = "remove: "
		}
		if got += f.Why; !f.Next.IsZero() && strings.HasPrefix(f.Why, "no tag") || f.Digest == w.named["loose"].Digest {
			got += f.Next.Format(", until 2006-01-02")
		}
		if !ok || got != want || f.Rule != "ci" {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	if len(fs) != 12 {
		t.Errorf("%d findings", len(fs))
	}
	tags, manifests := w.there()
	if fmt.Sprint(len(strings.Fields(tags)), len(strings.Fields(manifests))) != "5 7" {
		t.Errorf("a dry run has left %s and %s", tags, manifests)
	}
}

// Clients that do not know referrers find signatures by tags that name their
// subject: they are no versions of anything, and go with it.
func TestTagsAboutAnImageGoWithIt(t *testing.T) {
	w := newWorld(t)
	w.image("app", "v1")
	about := "sha256-" + w.named["app"].Digest.Encoded()
	w.image("signature", about+".sig")
	w.image("list", about)
	w.days(1)
	w.image("next", "v2")
	w.days(1)
	p := rule(t, "keep-last = 2\nuntagged-after = \"1d\"")
	w.apply(p, false)
	if tags, _ := w.there(); len(strings.Fields(tags)) != 4 {
		t.Errorf("%s: they count for keep-last", tags)
	}
	w.image("last", "v3")
	for range 4 {
		w.days(2)
		w.apply(p, false)
	}
	if tags, manifests := w.there(); tags != "v2 v3" || manifests != "last next" {
		t.Errorf("%s: %s", tags, manifests)
	}
}
