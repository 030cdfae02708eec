package retain

import (
	"slices"
	"strings"
	"time"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/reference/pattern"
)

// A Rule says what is kept in some repositories.
type Rule struct {
	Name         string // for people
	Repositories []pattern.Pattern

	// What a tag is kept for: that it is one of the KeepLast that were written
	// last, that it was written less than KeepYounger ago, or that it matches one
	// of KeepTags. A rule with none of these keeps all tags.
	KeepLast    int           // 0: none for that
	KeepYounger time.Duration // 0: none for that
	KeepTags    []string      // globs: * stands for any characters

	// UntaggedAfter is how long a manifest is kept that has no tag and that
	// nothing else needs; 0: for ever.
	UntaggedAfter time.Duration
}

// removesTags says whether the rule removes any tags.
func (r *Rule) removesTags() bool {
	return r.KeepLast > 0 || r.KeepYounger > 0 || len(r.KeepTags) > 0
}

// removes says whether the rule removes anything.
func (r *Rule) removes() bool { return r.removesTags() || r.UntaggedAfter > 0 }

// matching returns the first of KeepTags that t matches.
func (r *Rule) matching(t reference.Tag) (string, bool) {
	i := slices.IndexFunc(r.KeepTags, func(g string) bool { return pattern.Glob(g, string(t)) })
	if i < 0 {
		return "", false
	}
	return r.KeepTags[i], true
}

// Rules are what a file says: the first that matches a repository counts.
type Rules []Rule

// of returns the rule for repo.
func (rs Rules) of(repo reference.Repository) (*Rule, bool) {
	for i := range rs {
		if slices.ContainsFunc(rs[i].Repositories, func(p pattern.Pattern) bool { return p.Matches(repo) }) {
			return &rs[i], true
		}
	}
	return nil, false
}

func (rs Rules) removesAny() bool {
	return slices.ContainsFunc(rs, func(r Rule) bool { return r.removes() })
}

// checkGlob says what is wrong with the glob of a tag; "" when nothing is.
func checkGlob(g string) string {
	if _, err := reference.ParseTag(strings.ReplaceAll(g, "*", "a")); err != nil {
		return "no tag can have such a name: use letters, digits, _ . - and the wildcard *"
	}
	return ""
}
