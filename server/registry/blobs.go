package registry

import (
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// blobPath is where a blob can be pulled.
func blobPath(repo reference.Repository, d digest.Digest) string {
	return "/v2/" + string(repo) + "/blobs/" + string(d)
}

// pullBlob is end-2: GET and HEAD of a blob, whole or in ranges.
func (h *handler) pullBlob(c *call) error {
	d, err := reference.ParseDigest(c.arg)
	if err != nil {
		return err
	}
	head := c.Method == http.MethodHead
	if !c.conditional() {
		if sent, err := h.redirect(c, d); sent || err != nil {
			return err
		}
	}
	ranged := !head && c.Header.Get("Range") != "" && c.ifRange(d)
	if !head && !ranged && !c.conditional() {
		r, err := h.store.Open(c.Context(), c.repo, d, 0, -1)
		if err != nil {
			return err
		}
		c.describeBlob(r.Blob())
		return c.send(r)
	}
	// A stat costs no more than what Open does before it reads.
	b, err := h.store.Stat(c.Context(), c.repo, d)
	if err != nil {
		return err
	}
	if answered, err := c.precondition(d); answered || err != nil {
		return err
	}
	if sent, err := h.redirect(c, d); sent || err != nil {
		return err
	}
	c.describeBlob(b)
	switch {
	case head:
		return nil
	case ranged:
		return h.sendRanges(c, b)
	}
	r, err := h.store.Open(c.Context(), c.repo, d, 0, -1)
	if err != nil {
		return err
	}
	return c.send(r)
}

// describeBlob sets the headers of an answer that has all of b.
func (c *call) describeBlob(b blobstore.Blob) {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", itoa(b.Size))
	h.Set("Docker-Content-Digest", string(b.Digest))
	h.Set("ETag", etag(b.Digest))
	h.Set("Accept-Ranges", "bytes")
}

// send writes what r has left, and closes it.
func (c *call) send(r *blobstore.Reader) error {
	_, err := r.WriteTo(c.w)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return err
}

// deleteBlob is end-10: the repository no longer holds the blob.
func (h *handler) deleteBlob(c *call) error {
	d, err := reference.ParseDigest(c.arg)
	if err != nil {
		return err
	}
	if err := h.store.Unlink(c.Context(), c.repo, d); err != nil {
		return err
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.setStatus(http.StatusAccepted)
	return nil
}
