package registry

import (
	"errors"
	"net/netip"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
)

// admit finds out who calls, and lets in whom the action of the route lets in. It
// looks at nothing in the bucket, so that its answer does not depend on what is
// there. Errors: access.ErrCredentials, ErrAnonymous and ErrScope, after which
// the header WWW-Authenticate is set; ErrDenied; ErrUnavailable.
func (h *handler) admit(c *call) error {
	if c.route.action == actionNone {
		return nil
	}
	scopes := c.scopes()
	caller, err := h.opts.Access.Identify(c.Context(), access.Credentials{
		Authorization: c.Header.Get("Authorization"), TLS: c.TLS, Remote: remote(c.RemoteAddr),
	})
	if err == nil {
		c.caller = caller
		c.Request = c.WithContext(access.With(c.Context(), caller))
		err = c.check()
	}
	if errors.Is(err, access.ErrCredentials) || errors.Is(err, access.ErrAnonymous) || errors.Is(err, access.ErrScope) {
		if challenge := h.opts.Access.Challenge(c.Request, scopes...); challenge != "" {
			c.w.Header().Set("WWW-Authenticate", challenge)
		}
	}
	return err
}

// remote is zero when the address is none, as in tests without a network.
func remote(addr string) netip.Addr {
	a, _ := netip.ParseAddrPort(addr)
	return a.Addr().Unmap()
}

// scopes are what a token must be for, to make this request.
func (c *call) scopes() []access.Scope {
	switch c.route.action {
	case actionPull:
		return []access.Scope{access.RepositoryScope(c.repo, access.Pull)}
	case actionPush:
		// As other registries have it: who pushes looks at what is there.
		scopes := []access.Scope{access.RepositoryScope(c.repo, access.Pull, access.Push)}
		if from, ok := c.from(); ok {
			scopes = append(scopes, access.RepositoryScope(from, access.Pull))
		}
		return scopes
	case actionDelete:
		return []access.Scope{access.RepositoryScope(c.repo, access.Delete)}
	case actionCatalog:
		return []access.Scope{access.CatalogScope()}
	}
	return nil
}

// from is the repository that a mount takes its blob from.
func (c *call) from() (reference.Repository, bool) {
	if c.route.resource != resUploads {
		return "", false
	}
	from, err := reference.ParseRepository(c.URL.Query().Get("from"))
	return from, err == nil
}

// check says whether the caller may do what the route does.
func (c *call) check() error {
	switch c.route.action {
	case actionAsk:
		return c.mayAsk()
	case actionCatalog:
		return c.refused("list repositories", c.caller.CheckList())
	case actionPull:
		return c.refused("pull from "+string(c.repo), c.caller.Check(access.Pull, c.repo))
	case actionPush:
		return c.refused("push to "+string(c.repo), c.caller.Check(access.Push, c.repo))
	case actionDelete:
		return c.refused("delete in "+string(c.repo), c.caller.Check(access.Delete, c.repo))
	}
	return c.refused("do what has no rule: "+c.route.name, access.ErrDenied)
}

// mayAsk is about GET /v2/, which clients ask before anything else to learn how
// to log in: whoever shows nothing is told, also where it may do something as it
// is. It gets a token as anonymous, then.
func (c *call) mayAsk() error {
	shown := c.Header.Get("Authorization") != "" || !c.caller.Anonymous()
	if shown || c.open {
		return nil
	}
	return c.refused("ask without a token", access.ErrAnonymous)
}

// refused says what the caller may not do; nil stays nil.
func (c *call) refused(what string, err error) error {
	if err == nil {
		return nil
	}
	e := failure(err, c.caller.Subject()+" may not "+what, "", "")
	if errors.Is(err, access.ErrDenied) {
		e.Remedy = "whoever runs the server gives rights"
	}
	return e
}

// mayPull says whether the caller may pull from a repository.
func (c *call) mayPull(repo reference.Repository) bool { return c.caller.May(access.Pull, repo) }

// sees says whether a repository is shown to the caller in the catalog.
func (c *call) sees(repo reference.Repository) bool {
	return c.caller.Lists(repo)
}

// token answers what gives tokens: the Docker token protocol.
func (h *handler) token(c *call) error {
	h.opts.Access.ServeToken(c.w, c.Request)
	return nil
}

// callerName is for the log.
func (c *call) callerName() string {
	if c.caller == nil {
		return ""
	}
	return c.caller.Subject()
}
