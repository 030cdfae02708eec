package realm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/laminastore/lamina/reference"
)

// ErrInvalid is returned for realms that are not well-formed, or that
// contradict each other.
var ErrInvalid = errors.New("invalid realm")

const (
	// MaxPrefixes is the most prefixes that the realms of a Map have together:
	// their record stays below record.MaxSize.
	MaxPrefixes = 10_000
	// MaxNameLength is the longest name of a realm in bytes.
	MaxNameLength = 63
	// maxText is the most bytes that Parse reads.
	maxText = 4 << 20
)

var nameRE = regexp.MustCompile(`^[a-z0-9]+(-+[a-z0-9]+)*$`)

// New checks realms and makes a Map of them. The same realm may come several
// times: its prefixes are taken together. Errors: ErrInvalid.
func New(realms ...Realm) (Map, error) {
	at := map[string]Name{}
	for _, r := range realms {
		if err := checkName(r.Name); err != nil {
			return Map{}, err
		}
		if len(r.Prefixes) == 0 {
			return Map{}, fmt.Errorf("%w %q: it has no prefix; write %s=PREFIX[,PREFIX…]", ErrInvalid, r.Name, r.Name)
		}
		for _, p := range r.Prefixes {
			if err := checkPrefix(r.Name, p); err != nil {
				return Map{}, err
			}
			if other, ok := at[p]; ok && other != r.Name {
				return Map{}, fmt.Errorf("%w: the prefix %q is in %q and in %q; a repository is in one realm only", ErrInvalid, p, other, r.Name)
			}
			at[p] = r.Name
			if len(at) > MaxPrefixes {
				return Map{}, fmt.Errorf("%w: more than %d prefixes in all; give teams names with a common beginning", ErrInvalid, MaxPrefixes)
			}
		}
	}
	return Map{at: reduced(at)}, nil
}

// reduced leaves out the prefixes that change nothing, for the next shorter one
// says the same.
func reduced(at map[string]Name) map[string]Name {
	out := map[string]Name{}
	for p, n := range at {
		outer := Default
		for q, ok := above(p); ok; q, ok = above(q) {
			if o, ok := at[q]; ok {
				outer = o
				break
			}
		}
		if n != outer {
			out[p] = n
		}
	}
	return out
}

func checkName(n Name) error {
	switch {
	case len(n) > MaxNameLength:
		return fmt.Errorf("%w: its name %.32q… has %d characters, allowed are %d", ErrInvalid, n, len(n), MaxNameLength)
	case !nameRE.MatchString(string(n)):
		return fmt.Errorf("%w %q: use lower-case letters and digits for its name, with - between them", ErrInvalid, n)
	}
	return nil
}

func checkPrefix(n Name, p string) error {
	switch {
	case strings.HasSuffix(p, "/") || strings.HasSuffix(p, "*"):
		return fmt.Errorf("%w %q: the prefix %.100q ends with %q; write whole parts of a repository's name, as in team or team/app: what is below them is meant too",
			ErrInvalid, n, p, p[len(p)-1:])
	case p == "":
		return fmt.Errorf("%w %q: one of its prefixes is empty; what no prefix covers is in the realm %q", ErrInvalid, n, Default)
	}
	if _, err := reference.ParseRepository(p); err != nil {
		return fmt.Errorf("%w %q: prefix: %w", ErrInvalid, n, err)
	}
	return nil
}

// Parse reads realms as they are written in settings, NAME=PREFIX[,PREFIX…]; a
// text may have several, with white space between. Errors: ErrInvalid.
func Parse(texts ...string) (Map, error) {
	var rs []Realm
	read := 0
	for _, text := range texts {
		if read += len(text); read > maxText {
			return Map{}, fmt.Errorf("%w: more than %d bytes of realms", ErrInvalid, maxText)
		}
		for s := range strings.FieldsSeq(text) {
			name, prefixes, ok := strings.Cut(s, "=")
			if !ok {
				return Map{}, fmt.Errorf("%w %.100q: write NAME=PREFIX[,PREFIX…], as in team-a=team/a,tools/a", ErrInvalid, s)
			}
			r := Realm{Name: Name(name)}
			if prefixes != "" {
				r.Prefixes = strings.Split(prefixes, ",")
			}
			rs = append(rs, r)
		}
	}
	return New(rs...)
}
