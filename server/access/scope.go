package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/laminastore/lamina/reference"
)

// The types of a scope.
const (
	scopeRepository = "repository" // repository:NAME:pull,push,delete
	scopeRegistry   = "registry"   // registry:catalog:*
	scopeRole       = "role"       // role:operator:*
)

// Limits of what a token is asked for. What it is for travels in it, in a header.
const (
	maxScopes     = 32
	maxScopeText  = 4096 // bytes, of all together
	maxScopeVerbs = 16   // in one
)

var errScope = errors.New("scope cannot be read")

// A Scope is what a token is asked for, as TYPE:NAME:ACTION,ACTION.
type Scope struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// RepositoryScope is the scope for doing actions to a repository.
func RepositoryScope(r reference.Repository, actions ...Action) Scope {
	s := Scope{Type: scopeRepository, Name: string(r)}
	for _, a := range actions {
		s.Actions = append(s.Actions, string(a))
	}
	return s
}

// CatalogScope is the scope for listing repositories.
func CatalogScope() Scope { return Scope{scopeRegistry, "catalog", []string{"*"}} }

// RoleScope is the scope for using a role.
func RoleScope(r Role) Scope { return Scope{scopeRole, string(r), []string{"*"}} }

func (s Scope) String() string { return s.Type + ":" + s.Name + ":" + strings.Join(s.Actions, ",") }

// parseScope reads TYPE[(CLASS)]:NAME:ACTION,ACTION. The name may have colons:
// clients may put a host before it. Errors: errScope.
func parseScope(text string) (Scope, error) {
	typ, rest, ok := strings.Cut(text, ":")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 || typ == "" || i == 0 {
		return Scope{}, fmt.Errorf("%w: %.64q is not TYPE:NAME:ACTION,…", errScope, text)
	}
	typ, _, _ = strings.Cut(typ, "(") // "repository(plugin)", a class that Docker once had
	s := Scope{Type: typ, Name: rest[:i]}
	if len(s.Name) > reference.MaxRepositoryLength {
		return Scope{}, fmt.Errorf("%w: its name has %d characters, allowed are %d", errScope, len(s.Name), reference.MaxRepositoryLength)
	}
	for a := range strings.SplitSeq(rest[i+1:], ",") {
		if a == "" || slices.Contains(s.Actions, a) {
			continue
		}
		if s.Actions = append(s.Actions, a); len(s.Actions) > maxScopeVerbs {
			return Scope{}, fmt.Errorf("%w: it has more than %d actions", errScope, maxScopeVerbs)
		}
	}
	return s, nil
}

// parseScopes reads the values of all parameters "scope", each of which may have
// several, separated by spaces. Errors: errScope.
func parseScopes(values []string) ([]Scope, error) {
	var out []Scope
	size := 0
	for _, v := range values {
		if size += len(v); size > maxScopeText {
			return nil, fmt.Errorf("%w: more than %d bytes: ask for several tokens", errScope, maxScopeText)
		}
		for text := range strings.FieldsSeq(v) {
			s, err := parseScope(text)
			if err != nil {
				return nil, err
			}
			if out = append(out, s); len(out) > maxScopes {
				return nil, fmt.Errorf("%w: more than %d at once: ask for several tokens", errScope, maxScopes)
			}
		}
	}
	return out, nil
}

// A scopeSet is what a token is for.
type scopeSet struct {
	actions map[[2]string][]string // by type and name
}

func newScopeSet(scopes []Scope) *scopeSet {
	s := &scopeSet{actions: make(map[[2]string][]string, len(scopes))}
	for _, x := range scopes {
		key := [2]string{x.Type, x.Name}
		for _, a := range x.Actions {
			if !slices.Contains(s.actions[key], a) {
				s.actions[key] = append(s.actions[key], a)
			}
		}
	}
	return s
}

// has says whether the token is for all actions of x.
func (s *scopeSet) has(x Scope) bool {
	have := s.actions[[2]string{x.Type, x.Name}]
	for _, a := range x.Actions {
		if !slices.Contains(have, a) {
			return false
		}
	}
	return len(x.Actions) > 0
}
