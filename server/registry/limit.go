package registry

import (
	"errors"
	"math"
	"net/http"
	"strings"

	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/limit"
)

// tokenPath is where clients ask for tokens, by POST with the password in the
// body.
const tokenPath = "/v2/token"

// enter counts the request for the address it comes from, before anything is
// done for it: also before a password is compared, which costs more than most
// requests. Errors: limit.ErrTooMany.
func (c *call) enter(l *limit.Limiter) (err error) {
	c.limited, err = l.Enter(limit.Address(c.RemoteAddr), c.showsPassword())
	return err
}

// showsPassword says whether a password comes with the request. Tokens are not
// guessed, and are checked quickly.
func (c *call) showsPassword() bool {
	scheme, _, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Basic") || c.Method == http.MethodPost && c.URL.Path == tokenPath
}

// admitted counts the request for its caller once that is known, and for an
// upload if it brings bytes. Errors: limit.ErrTooMany.
func (c *call) admitted() error {
	if who := access.From(c.Context()); !who.Anonymous() {
		if err := c.limited.As(who.Subject()); err != nil {
			return err
		}
	}
	if c.route.action == actionPush && c.ContentLength != 0 {
		return c.limited.Upload()
	}
	return nil
}

// leave ends the count. err and status are how the request ended: a password
// that was wrong counts against the address.
func (c *call) leave(status int, err error) {
	if (errors.Is(err, access.ErrCredentials) || status == http.StatusUnauthorized) && c.showsPassword() {
		c.limited.WrongPassword()
	}
	c.limited.Leave()
}

// retryAfter is after how many seconds the request may succeed; 0: never.
func (r row) retryAfter(err error) int {
	var over *limit.Error
	if r.class == limit.ErrTooMany && errors.As(err, &over) {
		return max(int(math.Ceil(over.After.Seconds())), 1)
	}
	return r.retry
}
