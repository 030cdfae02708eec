package images

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Names is what a manifest names.
type Names struct {
	// Config and Layers are those of a manifest, Manifests those of an index.
	Config    *Descriptor
	Layers    []Descriptor
	Manifests []Descriptor
	// Elsewhere are the layers that registries do not keep.
	Elsewhere []Descriptor
	Subject   digest.Digest
}

// ParseNames checks the form of a manifest and returns what it names.
// Errors: blobstore.ErrManifestInvalid, ErrTooLarge.
func ParseNames(mediaType string, b []byte) (Names, error) {
	p, err := parse(mediaType, b)
	if err != nil {
		return Names{}, err
	}
	n := Names{Subject: p.subjectDigest()}
	if p.config != nil {
		c := describe(*p.config)
		n.Config = &c
	}
	for _, l := range p.layers {
		if elsewhere(l) {
			n.Elsewhere = append(n.Elsewhere, describe(l))
		} else {
			n.Layers = append(n.Layers, describe(l))
		}
	}
	for _, m := range p.manifests {
		n.Manifests = append(n.Manifests, describe(m))
	}
	return n, nil
}

func describe(d ocispec.Descriptor) Descriptor {
	return Descriptor{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size}
}
