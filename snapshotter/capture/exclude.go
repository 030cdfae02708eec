package capture

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
)

// Limits of exclusions.
const (
	MaxPatterns      = 1000
	MaxPatternLength = 4096 // bytes
)

// exclusions decide which paths stay as they are in the lowers. nil excludes
// nothing.
type exclusions struct {
	matcher *patternmatcher.PatternMatcher
	// exceptions says that something below what is excluded may be included.
	exceptions bool
}

// matched is what is known of a folder, for what is in it.
type matched = patternmatcher.MatchInfo

// CheckPatterns says whether patterns can be used as Options.Exclude. Errors:
// ErrPattern.
func CheckPatterns(patterns []string) error {
	_, err := newExclusions(patterns)
	return err
}

func newExclusions(patterns []string) (*exclusions, error) {
	if len(patterns) > MaxPatterns {
		return nil, fmt.Errorf("%w: there are %d, allowed are %d", ErrPattern, len(patterns), MaxPatterns)
	}
	var relative []string
	for _, p := range patterns {
		if len(p) > MaxPatternLength {
			return nil, fmt.Errorf("%w: %.40q… has %d bytes, allowed are %d", ErrPattern, p, len(p), MaxPatternLength)
		}
		if !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
			return nil, fmt.Errorf("%w %q: it is not UTF-8", ErrPattern, p)
		}
		p, include := strings.CutPrefix(strings.TrimSpace(p), "!")
		p = strings.TrimLeft(strings.TrimSpace(p), "/")
		switch {
		case p == "" && include:
			return nil, fmt.Errorf("%w: nothing after \"!\"", ErrPattern)
		case p == "":
			continue
		case include:
			p = "!" + p
		}
		// One at a time, to say which it is; and matched, since only that finds
		// every mistake.
		one, err := patternmatcher.New([]string{p})
		if err == nil {
			for _, pattern := range one.Patterns() {
				_, err = patternmatcher.MatchesOrParentMatches("a", []string{pattern.String()})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrPattern, p, err)
		}
		relative = append(relative, p)
	}
	if len(relative) == 0 {
		return nil, nil
	}
	matcher, err := patternmatcher.New(relative)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPattern, err)
	}
	return &exclusions{matcher, matcher.Exclusions()}, nil
}

// match says whether path, without the first slash, is excluded.
func (x *exclusions) match(path string, parent matched) (bool, matched, error) {
	if x == nil {
		return false, matched{}, nil
	}
	return x.matcher.MatchesUsingParentResults(path, parent)
}
