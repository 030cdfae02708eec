package images

import (
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// one reads the descriptor at key, nil if there is none.
func one(o object, key string) (*ocispec.Descriptor, error) {
	var d object
	if ok, err := o.get(key, &d); err != nil || !ok {
		return nil, err
	}
	desc, err := descriptor(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &desc, nil
}

// many reads the descriptors at key, which must be an array.
func many(o object, key string) ([]ocispec.Descriptor, error) {
	var ds []object
	switch ok, err := o.get(key, &ds); {
	case err != nil:
		return nil, err
	case !ok && o[key] == nil: // null is an empty list to those who write Go
		return nil, fmt.Errorf("it has no %s", key)
	case len(ds) > MaxDescriptors:
		return nil, fmt.Errorf("%s: %d of them, allowed are %d", key, len(ds), MaxDescriptors)
	}
	descs := make([]ocispec.Descriptor, len(ds))
	for i, d := range ds {
		var err error
		if descs[i], err = descriptor(d); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return descs, nil
}

func descriptor(o object) (d ocispec.Descriptor, err error) {
	if o == nil {
		return d, errors.New("it is null")
	}
	var name string
	ok, err := o.get("digest", &name)
	if err == nil && !ok {
		err = errors.New("it has no digest")
	}
	if err != nil {
		return d, err
	}
	if d.Digest, err = reference.ParseDigest(name); err != nil {
		return d, err
	}
	ok, err = o.get("size", &d.Size)
	switch {
	case err != nil:
		return d, err
	case !ok:
		return d, fmt.Errorf("%s has no size", d.Digest)
	case d.Size < 0:
		return d, fmt.Errorf("%s has size %d", d.Digest, d.Size)
	}
	if _, err = o.get("mediaType", &d.MediaType); err != nil {
		return d, err
	}
	if len(d.MediaType) > 255 {
		return d, fmt.Errorf("mediaType has %d characters, allowed are 255", len(d.MediaType))
	}
	for key, v := range map[string]any{
		"artifactType": &d.ArtifactType, "urls": &d.URLs, "annotations": &d.Annotations, "platform": &d.Platform,
	} {
		if _, err = o.get(key, v); err != nil {
			return d, err
		}
	}
	return d, nil
}
