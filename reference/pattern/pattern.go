// Package pattern says which repositories a pattern means. Access policies,
// retention and verification all use it.
package pattern

import (
	"fmt"
	"strings"

	"github.com/laminastore/lamina/reference"
)

// maxAnySegments bounds the ** of a pattern, and with them the work of matching.
const maxAnySegments = 4

// A Pattern is a set of repositories: a name in which * stands for any
// characters inside one segment (alone: for one segment), and a segment ** for
// any number of segments. At the end ** stands for at least one: "team/**" is
// everything under team, and not team itself.
type Pattern struct {
	text     string
	segments []string
}

// Parse checks s. Its errors quote it, and say what is wrong.
func Parse(s string) (Pattern, error) {
	bad := func(why string) (Pattern, error) {
		return Pattern{}, fmt.Errorf("repository pattern %.255q: %s", s, why)
	}
	if len(s) > reference.MaxRepositoryLength {
		return bad(fmt.Sprintf("it has %d characters, allowed are %d", len(s), reference.MaxRepositoryLength))
	}
	segments := strings.Split(s, "/")
	anys := 0
	for i, seg := range segments {
		if seg == "**" {
			anys++
			if i > 0 && segments[i-1] == "**" {
				return bad("write ** once, it stands for any number of segments")
			}
			continue
		}
		if strings.Contains(seg, "**") {
			return bad("** must stand alone between slashes")
		}
	}
	if anys > maxAnySegments {
		return bad(fmt.Sprintf("at most %d segments may be **", maxAnySegments))
	}
	// What is left must be a name once the stars stand for letters.
	if _, err := reference.ParseRepository(strings.ReplaceAll(strings.ReplaceAll(s, "**", "a"), "*", "a")); err != nil {
		return bad("no repository can have such a name: use lower-case letters, digits, single separators (. _ __ -), / between parts, and the wildcards * and **")
	}
	return Pattern{s, segments}, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Matches says whether r is in the set. Patterns are values, safe for
// concurrent use.
func (p Pattern) Matches(r reference.Repository) bool {
	return r != "" && matchSegments(p.segments, strings.Split(string(r), "/"))
}

func matchSegments(want, have []string) bool {
	for i, w := range want {
		if w != "**" {
			if len(have) == 0 || !Glob(w, have[0]) {
				return false
			}
			have = have[1:]
			continue
		}
		rest := want[i+1:]
		if len(rest) == 0 {
			return len(have) > 0
		}
		for n := range len(have) {
			if matchSegments(rest, have[n:]) {
				return true
			}
		}
		return false
	}
	return len(have) == 0
}

// Glob says whether s is p, in which each * stands for any characters. It takes
// time of the order of len(p)*len(s) at most: only the last * is tried again.
func Glob(p, s string) bool {
	star, from := -1, 0 // the last * in p, and where in s what follows it began
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
		case i < len(p) && p[i] == s[j]:
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(p[i:], "*") == ""
}
