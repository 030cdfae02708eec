package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/laminastore/lamina/reference/pattern"
)

// Kinds of identity, and of what a policy may name.
const (
	kindAnonymous     = "anonymous"
	kindAuthenticated = "authenticated" // whoever has said who it is
	kindUser          = "user"
	kindOIDC          = "oidc"
	kindCertificate   = "cert"
	kindNode          = "node"
	kindGroup         = "group"
)

const (
	maxName   = 255 // bytes of a name of a user, group, subject
	maxGroups = 500 // of one identity
)

// checkName says what is wrong with a name of somebody: it goes into logs and
// is compared with what an administrator typed.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name %.32q… has %d bytes, allowed are %d", name, len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("the name %.64q has spaces or invisible characters", name)
	}
	return nil
}

// A subjectSet is a set of subjects: of identities and groups.
type subjectSet struct {
	exact map[string]bool
	globs []string // with * for any characters
}

// add adds what an administrator wrote: anonymous, authenticated, or KIND:NAME,
// where a NAME of what others administer may have *.
func (s *subjectSet) add(text string) error {
	kind, name, named := strings.Cut(text, ":")
	switch kind {
	case kindAnonymous, kindAuthenticated:
		if named {
			return fmt.Errorf("subject %.64q: %s takes no name", text, kind)
		}
	case kindUser, kindGroup, kindOIDC, kindCertificate, kindNode:
		if err := checkName(name); err != nil {
			return fmt.Errorf("subject %.64q: %w", text, err)
		}
	default:
		return fmt.Errorf("subject %.64q is none of anonymous, authenticated, user:NAME, group:NAME, oidc:ISSUER#SUBJECT, cert:NAME, node:ID", text)
	}
	if strings.Contains(name, "*") {
		if kind == kindUser || kind == kindGroup {
			return fmt.Errorf("subject %.64q: only oidc:, cert: and node: may have *", text)
		}
		// A * before the # would let anybody's issuer in.
		if issuer, _, ok := strings.Cut(name, "#"); kind == kindOIDC && (!ok || strings.Contains(issuer, "*")) {
			return fmt.Errorf("subject %.64q: * may stand after the # only", text)
		}
		s.globs = append(s.globs, text)
		return nil
	}
	if s.exact == nil {
		s.exact = make(map[string]bool)
	}
	s.exact[text] = true
	return nil
}

// merge adds what is in o.
func (s *subjectSet) merge(o subjectSet) {
	if s.exact == nil {
		s.exact = make(map[string]bool)
	}
	maps.Copy(s.exact, o.exact)
	s.globs = append(s.globs, o.globs...)
}

// hasAny says whether one of the subjects is in the set.
func (s *subjectSet) hasAny(subjects []string) bool {
	for _, x := range subjects {
		if s.exact[x] || slices.ContainsFunc(s.globs, func(p string) bool { return pattern.Glob(p, x) }) {
			return true
		}
	}
	return false
}

// groups are the names of the groups that the set names.
func (s *subjectSet) groups() []string {
	var out []string
	for _, x := range slices.Sorted(maps.Keys(s.exact)) {
		if name, ok := strings.CutPrefix(x, kindGroup+":"); ok {
			out = append(out, name)
		}
	}
	return out
}

// An identity is what credentials prove, whatever the policies make of it. It is
// what tokens carry.
type identity struct {
	Kind   string   `json:"kind"`             // anonymous, user, oidc or cert
	Name   string   `json:"name,omitempty"`   // of an oidc identity: its subject
	Issuer string   `json:"issuer,omitempty"` // of an oidc identity
	Groups []string `json:"groups,omitempty"` // those that the issuer says
}

var anonymous = identity{Kind: kindAnonymous}

func (id identity) String() string {
	switch id.Kind {
	case kindAnonymous:
		return kindAnonymous
	case kindOIDC:
		return kindOIDC + ":" + id.Issuer + "#" + id.Name
	}
	return id.Kind + ":" + id.Name
}
