package registry

import (
	"io"
	"mime"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

func manifestPath(repo reference.Repository, d digest.Digest) string {
	return "/v2/" + string(repo) + "/manifests/" + string(d)
}

// pullManifest is end-3. The manifest comes as it was pushed, whatever Accept
// says: its digest is what it is known by, so there is nothing to convert.
func (h *handler) pullManifest(c *call) error {
	l, err := reference.ParseLocator(c.arg)
	if err != nil {
		return err
	}
	if c.Method == http.MethodHead || c.conditional() {
		d, err := h.images.Resolve(c.Context(), c.repo, l)
		if err != nil {
			return err
		}
		if answered, err := c.precondition(d.Digest); answered || err != nil {
			return err
		}
		if c.Method == http.MethodHead {
			c.describeManifest(d)
			return nil
		}
		l = reference.Locator{Digest: d.Digest} // the one that was looked at
	}
	m, err := h.images.Get(c.Context(), c.repo, l)
	if err != nil {
		return err
	}
	c.describeManifest(m.Descriptor)
	_, err = c.w.Write(m.Bytes)
	return err
}

func (c *call) describeManifest(d images.Descriptor) {
	h := c.w.Header()
	h.Set("Content-Type", d.MediaType)
	h.Set("Content-Length", itoa(d.Size))
	h.Set("Docker-Content-Digest", string(d.Digest))
	h.Set("ETag", etag(d.Digest))
}

// pushManifest is end-7: PUT by tag, or by digest with tags as parameters.
func (h *handler) pushManifest(c *call) error {
	l, err := reference.ParseLocator(c.arg)
	if err != nil {
		return err
	}
	o := images.PutOptions{Digest: l.Digest}
	if l.Tag != "" {
		o.Tags = append(o.Tags, l.Tag)
	}
	params := c.URL.Query()["tag"]
	if len(params)+len(o.Tags) > images.MaxTags {
		return failure(errManyTags, string(c.repo), "more than "+itoa(images.MaxTags), "push the manifest again with the rest")
	}
	for _, p := range params {
		tag, err := reference.ParseTag(p)
		if err != nil {
			return err
		}
		o.Tags = append(o.Tags, tag)
	}
	if o.Expect, err = c.expectation(); err != nil {
		return err
	}
	if ct := c.Header.Get("Content-Type"); ct != "" {
		// Parameters are ignored, as the specification says.
		if o.MediaType, _, err = mime.ParseMediaType(ct); err != nil {
			return failure(errHeader, "Content-Type: "+clipQuote(ct), "", "use the manifest's mediaType")
		}
	}
	if o.Bytes, err = c.manifestBody(h.images.MaxManifest()); err != nil {
		return err
	}
	m, err := h.images.Put(c.Context(), c.repo, o)
	if err != nil {
		return err
	}
	head := c.w.Header()
	head.Set("Location", manifestPath(c.repo, m.Digest))
	head.Set("Docker-Content-Digest", string(m.Digest))
	head.Set("ETag", etag(m.Digest))
	if m.Subject != "" {
		head.Set("OCI-Subject", string(m.Subject))
	}
	for _, tag := range params {
		head.Add("OCI-Tag", tag)
	}
	head.Set("Content-Length", "0")
	c.w.setStatus(http.StatusCreated)
	return nil
}

// manifestBody reads a manifest of at most so many bytes. Errors: blobstore.ErrTooLarge, and readError's.
func (c *call) manifestBody(most int64) ([]byte, error) {
	tooLarge := failure(blobstore.ErrTooLarge, "manifest", "more than "+itoa(most)+" bytes",
		"put what is large into a blob and name that in the manifest")
	if c.ContentLength > most {
		tooLarge.Detail = itoa(c.ContentLength) + " bytes, allowed are " + itoa(most)
		return nil, tooLarge
	}
	// The memory grows with what comes, not with what is announced.
	b, err := io.ReadAll(io.LimitReader(c.Body, most+1))
	switch {
	case err != nil:
		return nil, c.readError(err)
	case int64(len(b)) > most:
		return nil, tooLarge
	}
	return b, nil
}

// deleteManifest is end-9: by digest the manifest with all its tags, by tag the
// tag alone.
func (h *handler) deleteManifest(c *call) error {
	l, err := reference.ParseLocator(c.arg)
	if err != nil {
		return err
	}
	if l.Digest != "" {
		err = h.images.Delete(c.Context(), c.repo, l.Digest)
	} else {
		err = h.images.Untag(c.Context(), c.repo, l.Tag)
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.setStatus(http.StatusAccepted)
	return nil
}
