package access

import (
	"context"
	"slices"

	"github.com/laminastore/lamina/reference"
)

// A Caller is who makes a request, and what it may do. It does not change, and
// is safe for concurrent use.
type Caller struct {
	open      bool
	subject   string
	anonymous bool
	nodeID    string
	policies  []*policy
	roles     map[Role]bool
	scopes    *scopeSet // what its token is for; nil when it showed none
}

var (
	// everyone is the caller to whom everything is open.
	everyone = &Caller{open: true, subject: kindAnonymous, anonymous: true}
	// nobody may do nothing.
	nobody = &Caller{subject: kindAnonymous, anonymous: true}
)

// Subject names the caller, for logs and limits: "anonymous", "user:alice",
// "oidc:ISSUER#SUBJECT", "cert:NAME" or "node:ID".
func (c *Caller) Subject() string { return c.subject }

// Anonymous says that the caller has not said who it is.
func (c *Caller) Anonymous() bool { return c.anonymous }

// May says whether the caller may do a to r: whether the policies give it to the
// caller, and its token, if it showed one, is for it.
func (c *Caller) May(a Action, r reference.Repository) bool { return c.Check(a, r) == nil }

// Check is May with the reason. It depends on the policies alone, never on
// whether r exists. Errors: ErrAnonymous and ErrScope (401, with a challenge),
// ErrDenied (403).
func (c *Caller) Check(a Action, r reference.Repository) error {
	return c.reason(c.given(a, r), RepositoryScope(r, a))
}

// given says whether the policies give a on r to the caller.
func (c *Caller) given(a Action, r reference.Repository) bool {
	return c.open || slices.ContainsFunc(c.policies, func(p *policy) bool { return p.gives(a, r) })
}

// MayList says whether the caller may ask for the catalog. It is to be shown
// what it Lists, no more.
func (c *Caller) MayList() bool { return c.CheckList() == nil }

// CheckList is MayList with the reason, as Check has it.
func (c *Caller) CheckList() error {
	given := c.open || c.roles[Operator] ||
		slices.ContainsFunc(c.policies, func(p *policy) bool { return slices.Contains(p.actions, Pull) })
	return c.reason(given, CatalogScope())
}

// Lists says whether the catalog shows r to the caller: whether the policies let
// it pull from there, or it is an Operator. A token that is for the catalog need
// be for nothing else: clients ask for one before they know any name.
func (c *Caller) Lists(r reference.Repository) bool {
	return c.MayList() && (c.roles[Operator] || c.given(Pull, r))
}

// Is says whether the caller has the role.
func (c *Caller) Is(r Role) bool { return c.CheckRole(r) == nil }

// CheckRole is Is with the reason, as Check has it.
func (c *Caller) CheckRole(r Role) error { return c.reason(c.open || c.roles[r], RoleScope(r)) }

// reason says why something is refused that the policies give, or do not, and
// for which a token must have a scope.
func (c *Caller) reason(given bool, s Scope) error {
	switch {
	case given && (c.scopes == nil || c.scopes.has(s)):
		return nil
	case given:
		return ErrScope
	case c.anonymous:
		return ErrAnonymous
	}
	return ErrDenied
}

// allowed is the part of s that the caller may ask a token for. It has no
// actions when that is nothing.
func (c *Caller) allowed(s Scope) Scope {
	out := Scope{Type: s.Type, Name: s.Name}
	switch s.Type {
	case scopeRepository:
		r, err := reference.ParseRepository(s.Name)
		if err != nil {
			return out
		}
		for _, a := range []Action{Pull, Push, Delete} {
			if (slices.Contains(s.Actions, string(a)) || slices.Contains(s.Actions, "*")) && c.May(a, r) {
				out.Actions = append(out.Actions, string(a))
			}
		}
	case scopeRegistry:
		if s.Name == "catalog" && slices.Contains(s.Actions, "*") && c.MayList() {
			out.Actions = []string{"*"}
		}
	case scopeRole:
		if slices.Contains(s.Actions, "*") && c.Is(Role(s.Name)) {
			out.Actions = []string{"*"}
		}
	}
	return out
}

// NodeID is the id under which the caller may report as a Node. It is "" for
// one that is no node, and for one whose credentials say nothing of an id: that
// one may take an id that is free.
func (c *Caller) NodeID() string { return c.nodeID }

type callerKey struct{}

// With returns a context in which From finds c.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns the caller of the request that ctx belongs to. Without one it is
// somebody who may do nothing, never nil.
func From(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok && c != nil {
		return c
	}
	return nobody
}
