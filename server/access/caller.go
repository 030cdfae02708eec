package access

import (
	"context"

	"github.com/laminastore/lamina/reference"
)

// A Caller is who makes a request, and what it may do. It does not change, and
// is safe for concurrent use.
type Caller struct {
	open bool
}

// everyone is the caller to whom everything is open.
var everyone = &Caller{open: true}

// Subject names the caller, for logs and limits: "anonymous", "user:alice",
// "oidc:ISSUER#SUBJECT", "cert:NAME" or "node:ID".
func (c *Caller) Subject() string { return "anonymous" }

// Anonymous says that the caller has not said who it is.
func (c *Caller) Anonymous() bool { return true }

// May says whether the caller may do a to r: whether the policies give it to the
// caller, and its token, if it showed one, is for it.
func (c *Caller) May(a Action, r reference.Repository) bool { return c.Check(a, r) == nil }

// Check is May with the reason. It depends on the policies alone, never on
// whether r exists. Errors: ErrAnonymous and ErrScope (401, with a challenge),
// ErrDenied (403).
func (c *Caller) Check(a Action, r reference.Repository) error {
	if c.open {
		return nil
	}
	return ErrDenied
}

// MayList says whether the caller may ask for the catalog. It is to be shown
// what it may pull, no more; an Operator everything.
func (c *Caller) MayList() bool { return c.CheckList() == nil }

// CheckList is MayList with the reason, as Check has it.
func (c *Caller) CheckList() error {
	if c.open {
		return nil
	}
	return ErrDenied
}

// Is says whether the caller has the role.
func (c *Caller) Is(r Role) bool { return c.CheckRole(r) == nil }

// CheckRole is Is with the reason, as Check has it.
func (c *Caller) CheckRole(r Role) error {
	if c.open {
		return nil
	}
	return ErrDenied
}

// NodeID is the id under which the caller may report as a Node. It is "" for
// one that is no node, and for one whose credentials say nothing of an id: that
// one may take an id that is free.
func (c *Caller) NodeID() string { return "" }

type callerKey struct{}

// With returns a context in which From finds c.
func With(ctx context.Context, c *Caller) context.Context { return context.WithValue(ctx, callerKey{}, c) }

// From returns the caller of the request that ctx belongs to. Without one it is
// somebody who may do nothing, never nil.
func From(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	return nobody
}

// nobody may do nothing.
var nobody = &Caller{}
