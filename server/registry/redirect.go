package registry

import (
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// redirectLasts is how long a URL that a client is sent to may be used. A
// transfer that has begun by then goes on.
const redirectLasts = 5 * time.Minute

// redirect sends the client to the bucket for a blob, if that is wanted and
// there is such a way, and says whether it has. The bytes then come from there
// without having been checked. Errors: those of blobstore.Store.Presign.
func (h *handler) redirect(c *call, d digest.Digest) (bool, error) {
	if !h.opts.Redirect || c.Method != http.MethodGet || !c.redirectable() {
		return false, nil
	}
	url, err := h.store.Presign(c.Context(), c.repo, d, redirectLasts)
	if err != nil || url == "" {
		return false, err
	}
	head := c.w.Header()
	head.Set("Location", url)
	head.Set("Docker-Content-Digest", string(d))
	head.Set("Content-Length", "0")
	// The URL ends, and is for who was let in.
	head.Set("Cache-Control", "no-store")
	c.w.setStatus(http.StatusTemporaryRedirect)
	return true, nil
}

// redirectable says whether the bucket would answer as this server does: it
// knows neither of several ranges nor of our ETags.
func (c *call) redirectable() bool {
	return !strings.Contains(c.Header.Get("Range"), ",") && c.Header.Get("If-Range") == ""
}
