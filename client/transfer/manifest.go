package transfer

import (
	"encoding/json"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// MaxManifest is the largest manifest in bytes, as everywhere in Lamina.
const MaxManifest = 4 << 20

// Docker's media types; those of OCI are in package ocispec.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// A manifest is what is needed of one to copy it: what it names.
type manifest struct {
	ocispec.Descriptor
	bytes  []byte
	config *ocispec.Descriptor
	layers []ocispec.Descriptor
	// manifests are set for an index.
	manifests []ocispec.Descriptor
}

// blobs are the config and the layers, without those that are only to be
// fetched from where their URLs point.
func (m *manifest) blobs() []ocispec.Descriptor {
	var ds []ocispec.Descriptor
	if m.config != nil {
		ds = append(ds, *m.config)
	}
	for _, l := range m.layers {
		if !isForeign(l) {
			ds = append(ds, l)
		}
	}
	return ds
}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerManifestList
}

func isManifest(mediaType string) bool {
	return isIndex(mediaType) || mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// isForeign says whether d is a layer that registries do not keep, but hosts
// that its urls name.
func isForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign."))
}

// parseManifest reads the manifest that d describes. Its digest must have been
// checked. Where d has no media type, as in some layouts, it is found out.
// Errors: ErrDamaged, ErrUnsupported.
func parseManifest(d ocispec.Descriptor, b []byte) (*manifest, error) {
	var raw struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Config        *ocispec.Descriptor  `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fail(ErrDamaged, "manifest %s is no JSON: %v", d.Digest, err)
	}
	if raw.SchemaVersion == 1 {
		return nil, fail(ErrUnsupported, "manifest %s is of Docker's schema 1 (push the image again with a client of this decade)", d.Digest)
	}
	if d.MediaType == "" {
		d.MediaType = raw.MediaType
	}
	if d.MediaType == "" {
		d.MediaType = ocispec.MediaTypeImageManifest
		if raw.Manifests != nil {
			d.MediaType = ocispec.MediaTypeImageIndex
		}
	}
	m := &manifest{Descriptor: d, bytes: b}
	if isIndex(d.MediaType) {
		for _, c := range raw.Manifests {
			if c.MediaType == "" || isManifest(c.MediaType) {
				m.manifests = append(m.manifests, c)
			} else { // the image-spec lets an index name what nobody knows
				m.layers = append(m.layers, c)
			}
		}
	} else {
		m.config, m.layers = raw.Config, raw.Layers
	}
	for _, r := range append(m.blobs(), m.manifests...) {
		if _, err := reference.ParseDigest(string(r.Digest)); err != nil {
			return nil, fail(ErrDamaged, "manifest %s: %w", d.Digest, err)
		}
		if r.Size < 0 {
			return nil, fail(ErrDamaged, "manifest %s: %s has the size %d", d.Digest, r.Digest, r.Size)
		}
	}
	return m, nil
}
