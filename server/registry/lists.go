package registry

import (
	"errors"
	"iter"
	"net/url"
	"strconv"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A page is what a request for a list asks for.
type page struct {
	n    int    // at most so many; -1: no limit was given
	last string // only what comes after this
}

// parsePage reads the parameters n and last. Errors: errQuery.
func parsePage(q url.Values) (page, error) {
	p := page{n: -1, last: q.Get("last")}
	if s := q.Get("n"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return p, failure(errQuery, "n="+clipQuote(s), "", "use a number from 0; at most "+itoa(MaxPage)+" are returned at once")
		}
		p.n = int(n)
	}
	return p, nil
}

// limit is how many names the answer has at most.
func (p page) limit() int {
	if p.n < 0 {
		return MaxPage
	}
	return min(p.n, MaxPage)
}

// link is the Link header (RFC 8288) to the page that begins after last.
func link(path string, q url.Values) string {
	return "<" + (&url.URL{Path: path, RawQuery: q.Encode()}).String() + `>; rel="next"`
}

// goOn sets the header Link to the page after last.
func (c *call) goOn(p page, limit int, last string) {
	if p.n != 0 {
		c.w.Header().Set("Link", link(c.URL.Path, url.Values{"n": {strconv.Itoa(limit)}, "last": {last}}))
	}
}

// collect takes a page of names from all, and sets the header Link when there
// are more.
func collect[T ~string](c *call, p page, all iter.Seq2[T, error]) ([]T, error) {
	names := []T{}
	limit := p.limit()
	if p.n == 0 {
		limit = 1 // only to learn whether there is a repository
	}
	for name, err := range all {
		if u, ok := errors.AsType[*images.Unfinished](err); ok {
			c.goOn(p, limit, string(u.Last))
			break
		}
		if err != nil {
			return nil, err
		}
		if len(names) == limit {
			c.goOn(p, limit, string(names[limit-1]))
			break
		}
		names = append(names, name)
	}
	if p.n == 0 {
		names = names[:0]
	}
	return names, nil
}

// listTags is end-8.
func (h *handler) listTags(c *call) error {
	p, err := parsePage(c.URL.Query())
	if err != nil {
		return err
	}
	var after reference.Tag
	if p.last != "" {
		if after, err = reference.ParseTag(p.last); err != nil {
			return err
		}
	}
	tags, err := collect(c, p, h.images.SomeTagNames(c.Context(), c.repo, after))
	if err != nil {
		return err
	}
	return c.writeJSON("application/json", struct {
		Name reference.Repository `json:"name"`
		Tags []reference.Tag      `json:"tags"`
	}{c.repo, tags})
}
