package rpc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

const (
	defaultPage = 100
	maxPage     = 1000
	// maxToken bounds what is decoded: two names of the longest kind fit.
	maxToken = 2048
)

// pageSize checks the page size that a caller asks for.
func pageSize(n int32) (int, error) {
	switch {
	case n < 0:
		return 0, argument("page_size", "%d is negative", n)
	case n == 0:
		return defaultPage, nil
	case n > maxPage:
		return 0, argument("page_size", "%d is more than %d; ask for less and follow next_page_token", n, maxPage)
	}
	return int(n), nil
}

// A pageToken is what the callers' page_token holds: the place after which the
// next page begins. To callers it is opaque. It is no secret and proves nothing:
// whoever makes one up reaches no further than with a call that it could make.
type pageToken[P any] struct {
	// Of is the call and the filters that the token goes with.
	Of string `json:"of"`
	// At is the last entry of the page before.
	At P `json:"at"`
}

// callKey names a call with its filters, in a few letters.
func callKey(method string, filters ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q", method, filters))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// encodeToken makes the token of the page after at.
func encodeToken[P any](of string, at P) (string, error) {
	b, err := json.Marshal(pageToken[P]{Of: of, At: at})
	return base64.RawURLEncoding.EncodeToString(b), err
}

// decodeToken reads a token that a caller sent; ok is false for the first page.
// The place in it comes from outside: check looks at it.
func decodeToken[P any](s, of string, check func(P) error) (at P, ok bool, err error) {
	if s == "" {
		return at, false, nil
	}
	var t pageToken[P]
	b, err := []byte(nil), error(nil)
	if len(s) <= maxToken {
		b, err = base64.RawURLEncoding.Strict().DecodeString(s)
	}
	if len(s) > maxToken || err != nil || json.Unmarshal(b, &t) != nil || t.Of == "" || check(t.At) != nil {
		return at, false, argument("page_token", "not one that this server gave; take next_page_token as it was answered, or none")
	}
	if t.Of != of {
		return at, false, argument("page_token", "belongs to a call with other arguments; change them only on the first page")
	}
	return t.At, true, nil
}
