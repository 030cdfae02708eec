package registry

import (
	"errors"
	"net/url"
	"strconv"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/cursor"
)

// maxHidden is how many repositories that the caller may not see one page of the
// catalog passes over at most: a call to the bucket a thousand.
const maxHidden = 10_000

// catalog lists the repositories that the caller may pull from, as docker's
// registry API has it. A page that had to pass over too many others ends early,
// and its link says in the parameter after, sealed, where the next begins.
func (h *handler) catalog(c *call) error {
	q := c.URL.Query()
	p, err := parsePage(q)
	if err != nil {
		return err
	}
	after := p.last
	if p.last != "" {
		if _, err := reference.ParseRepository(p.last); err != nil {
			return err
		}
	}
	if sealed := q.Get("after"); sealed != "" {
		if after, err = h.cursors.Open(c.Context(), sealed); errors.Is(err, cursor.ErrInvalid) {
			return failure(errQuery, "after", err.Error(), "follow the header Link as it is")
		} else if err != nil {
			return err
		}
	}
	names, err := h.seen(c, p, after)
	if err != nil {
		return err
	}
	return c.writeJSON("application/json", struct {
		Repositories []reference.Repository `json:"repositories"`
	}{names})
}

// seen is collect for the names after one that the caller may see.
func (h *handler) seen(c *call, p page, after string) ([]reference.Repository, error) {
	names, hidden := []reference.Repository{}, 0
	limit := p.limit()
	if limit == 0 {
		return names, nil
	}
	for name, err := range h.images.Repositories(c.Context(), after) {
		switch {
		case err != nil:
			return nil, err
		case !c.sees(name):
			if hidden++; hidden < maxHidden {
				continue
			}
			sealed, err := h.cursors.Seal(c.Context(), string(name))
			if err != nil {
				return nil, err
			}
			c.w.Header().Set("Link", link(c.URL.Path, url.Values{"n": {strconv.Itoa(limit)}, "after": {sealed}}))
			return names, nil
		case len(names) == limit:
			c.w.Header().Set("Link", link(c.URL.Path, url.Values{"n": {strconv.Itoa(limit)}, "last": {string(names[limit-1])}}))
			return names, nil
		}
		names = append(names, name)
	}
	return names, nil
}
