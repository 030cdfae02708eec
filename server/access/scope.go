package access

import (
	"strings"

	"github.com/laminastore/lamina/reference"
)

// The types of a scope.
const (
	scopeRepository = "repository" // repository:NAME:pull,push,delete
	scopeRegistry   = "registry"   // registry:catalog:*
	scopeRole       = "role"       // role:operator:*
)

// A Scope is what a token is asked for, as TYPE:NAME:ACTION,ACTION.
type Scope struct {
	Type    string
	Name    string
	Actions []string
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
