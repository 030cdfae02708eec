package registry

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// etag is the entity tag of what has digest d: the same bytes always have the
// same tag, so it is a strong one.
func etag(d digest.Digest) string { return `"` + string(d) + `"` }

// matches says whether an If-Match or If-None-Match header names d
// (RFC 9110 section 13.1). Whether a tag is weak makes no difference here.
func matches(header []string, d digest.Digest) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag(d) {
				return true
			}
		}
	}
	return false
}

// conditional says whether a request for d asks under a condition.
func (c *call) conditional() bool {
	return c.Header["If-None-Match"] != nil || c.Header["If-Match"] != nil
}

// precondition answers a request for d whose condition does not hold, and says
// whether it has. Errors: errCondition.
func (c *call) precondition(d digest.Digest) (answered bool, err error) {
	if want := c.Header["If-Match"]; want != nil && !matches(want, d) {
		return false, failure(errCondition, string(d), "it is not what If-Match names", "")
	}
	if want := c.Header["If-None-Match"]; want != nil && matches(want, d) {
		c.w.Header().Set("ETag", etag(d))
		c.w.Header().Set("Docker-Content-Digest", string(d))
		c.w.setStatus(http.StatusNotModified)
		return true, nil
	}
	return false, nil
}

// expectation reads what a push to a tag wants the tag to be: If-Match with the
// ETag of the manifest that it replaces, or "If-None-Match: *". So two clients
// that keep a list under a tag do not lose each other's entries (distribution
// specification, "Referrers Tag Schema"). Errors: errHeader.
func (c *call) expectation() (images.Expect, error) {
	match, none := c.Header["If-Match"], c.Header["If-None-Match"]
	switch {
	case match == nil && none == nil:
		return images.Expect{}, nil
	case match == nil && len(none) == 1 && strings.TrimSpace(none[0]) == "*":
		return images.ExpectAbsent(), nil
	case none == nil && len(match) == 1:
		tag := strings.TrimSpace(match[0])
		if tag == "*" {
			return images.Expect{}, failure(errHeader, "If-Match: *", "", "name the manifest: If-Match: \"sha256:…\"")
		}
		d, err := reference.ParseDigest(strings.Trim(tag, `"`))
		if err != nil {
			e := failure(errHeader, "If-Match", "", "use the ETag that a GET of the tag returned")
			e.Err = err
			return images.Expect{}, e
		}
		return images.ExpectDigest(d), nil
	}
	return images.Expect{}, failure(errHeader, "If-Match, If-None-Match", "more than one condition", "use one")
}
