package registry

import (
	"encoding/json"
	"net/url"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// maxReferrers is how many bytes of descriptors one answer has at most: an
// index of more than 4 MiB is more than clients read.
const maxReferrers = 3 << 20

// listReferrers is end-12. It answers for every digest, also of a manifest or a
// repository that is not there: a referrer may be pushed before its subject,
// and 404 would tell clients that there is no such API.
func (h *handler) listReferrers(c *call) error {
	subject, err := reference.ParseDigest(c.arg)
	if err != nil {
		return err
	}
	q := c.URL.Query()
	p, err := parsePage(q)
	if err != nil {
		return err
	}
	if p.last != "" {
		if _, err := reference.ParseDigest(p.last); err != nil {
			return err
		}
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	filtered := q.Has("artifactType")
	size := 0
	for d, err := range h.images.Referrers(c.Context(), c.repo, subject) {
		if err != nil {
			return err
		}
		if string(d.Digest) <= p.last || filtered && d.ArtifactType != q.Get("artifactType") {
			continue
		}
		raw, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if len(index.Manifests) == p.limit() || size > 0 && size+len(raw) > maxReferrers {
			if p.n != 0 {
				c.nextReferrers(q, index.Manifests[len(index.Manifests)-1])
			}
			break
		}
		size += len(raw)
		index.Manifests = append(index.Manifests, d)
	}
	if filtered {
		c.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return c.writeJSON(ocispec.MediaTypeImageIndex, index)
}

// nextReferrers sets the header Link to the page after last.
func (c *call) nextReferrers(q url.Values, last ocispec.Descriptor) {
	next := url.Values{"last": {string(last.Digest)}}
	for _, name := range []string{"n", "artifactType"} {
		if q.Has(name) {
			next.Set(name, q.Get(name))
		}
	}
	c.w.Header().Set("Link", link(c.URL.Path, next))
}
