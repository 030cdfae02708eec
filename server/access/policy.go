package access

import (
	"slices"
	"strings"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/reference/pattern"
)

// A policy gives subjects actions on repositories.
type policy struct {
	subjects     subjectSet
	repositories []pattern.Pattern
	actions      []Action
}

// gives says whether the policy gives a on r to its subjects.
func (p *policy) gives(a Action, r reference.Repository) bool {
	return slices.Contains(p.actions, a) && slices.ContainsFunc(p.repositories, func(x pattern.Pattern) bool { return x.Matches(r) })
}

// Rules are all that a configuration says about who may do what.
type rules struct {
	groups   map[string]*subjectSet // members, by name
	policies []*policy
	roles    map[Role]*subjectSet
	nodes    string // pattern of the certificates that are nodes'; "" when none are
}

// mentions says whether any policy or role is about the group.
func (r *rules) mentions(group string) bool {
	subject := kindGroup + ":" + group
	for _, p := range r.policies {
		if p.subjects.exact[subject] {
			return true
		}
	}
	for _, s := range r.roles {
		if s.exact[subject] {
			return true
		}
	}
	return false
}

// caller works out what id may do. scopes limit it further; nil is no limit.
func (r *rules) caller(id identity, scopes *scopeSet) *Caller {
	c := &Caller{subject: id.String(), anonymous: id.Kind == kindAnonymous, scopes: scopes, roles: make(map[Role]bool)}
	if node, ok := r.nodeID(id); ok {
		c.nodeID, c.subject = node, kindNode+":"+node
		c.roles[Node] = true
	}
	// Whoever logs in loses nothing by it.
	subjects := []string{kindAnonymous}
	if !c.anonymous {
		subjects = append(subjects, kindAuthenticated, c.subject)
		for _, g := range id.Groups {
			subjects = append(subjects, kindGroup+":"+g)
		}
		own := subjects[:len(subjects):len(subjects)]
		for name, members := range r.groups {
			if members.hasAny(own) {
				subjects = append(subjects, kindGroup+":"+name)
			}
		}
	}
	for _, p := range r.policies {
		if p.subjects.hasAny(subjects) {
			c.policies = append(c.policies, p)
		}
	}
	for role, s := range r.roles {
		if s.hasAny(subjects) {
			c.roles[role] = true
		}
	}
	return c
}

// nodeID is the id of the node that id is: what * stands for in its name.
func (r *rules) nodeID(id identity) (string, bool) {
	before, after, ok := strings.Cut(r.nodes, "*")
	if id.Kind != kindCertificate || !ok || len(id.Name) < len(before)+len(after) ||
		!strings.HasPrefix(id.Name, before) || !strings.HasSuffix(id.Name, after) {
		return "", false
	}
	node := id.Name[len(before) : len(id.Name)-len(after)]
	return node, nodeIDRE.MatchString(node)
}
