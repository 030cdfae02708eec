package images

import (
	"context"
	"runtime"
	"slices"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
)

// attestation is BuildKit's annotation on a manifest of an index that is no
// image but says something about one.
const attestation = "vnd.docker.reference.type"

// maxUnnamed is how many manifests without a platform are looked into to find
// out theirs.
const maxUnnamed = 64

// A candidate is an image among those of an index.
type candidate struct {
	Descriptor
	platform ocispec.Platform
}

// candidates lists the images of an index, those of the indexes in it too.
func (im *Images) candidates(ctx context.Context, v via, ds []ocispec.Descriptor, depth int) ([]candidate, error) {
	var found []candidate
	for i, d := range ds {
		c := candidate{Descriptor: describe(d)}
		switch {
		case d.Annotations[attestation] != "":
			continue
		case d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown":
			continue
		case IsIndex(d.MediaType):
			if depth == maxNesting {
				continue
			}
			p, err := im.parsedManifest(ctx, v, c.Descriptor)
			if v.lacks(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			inner, err := im.candidates(ctx, v, p.manifests, depth+1)
			if err != nil {
				return nil, err
			}
			found = append(found, inner...)
			continue
		case !IsManifest(d.MediaType):
			continue
		case d.Platform != nil:
			c.platform = *d.Platform
		case i < maxUnnamed:
			p, err := im.parsedManifest(ctx, v, c.Descriptor)
			if v.lacks(err) {
				break
			}
			if err != nil {
				return nil, err
			}
			if config := im.imageConfig(ctx, p); config != nil {
				c.platform = config.Platform
			}
		}
		found = append(found, c)
	}
	return found, nil
}

// parsedManifest reads a manifest that an index names.
func (im *Images) parsedManifest(ctx context.Context, v via, d Descriptor) (*parsed, error) {
	b, err := v.manifest(ctx, im, d.Digest)
	if err != nil {
		return nil, err
	}
	return parse(d.MediaType, b)
}

// imageConfig is the config that p names, nil if it cannot be read as that of
// an image.
func (im *Images) imageConfig(ctx context.Context, p *parsed) *ocispec.Image {
	if p.config == nil || !isImageConfig(p.config.MediaType) {
		return nil
	}
	b, err := im.store.ReadAll(ctx, p.config.Digest, MaxConfigSize)
	if err != nil {
		return nil
	}
	config, err := parseConfig(b)
	if err != nil {
		return nil
	}
	return config
}

// choose picks the candidate that fits the platform best, as containerd does;
// the first of equals. With no platform asked for, an only one fits.
func choose(cs []candidate, platform string) (candidate, error) {
	want := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	if platform != "" {
		var err error
		if want, err = platforms.Parse(platform); err != nil {
			return candidate{}, remedy(fail(blobstore.ErrManifestInvalid, platform, "no platform: %v", err), "write it like linux/arm64")
		}
	}
	match := platforms.Only(want)
	fit := slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool { return !match.Match(c.platform) })
	slices.SortStableFunc(fit, func(a, b candidate) int {
		switch {
		case match.Less(a.platform, b.platform):
			return -1
		case match.Less(b.platform, a.platform):
			return 1
		}
		return 0
	})
	switch {
	case len(fit) > 0:
		return fit[0], nil
	case platform == "" && len(cs) == 1:
		return cs[0], nil
	}
	e := fail(blobstore.ErrManifestUnknown, platforms.Format(want), "the index has no image for this platform")
	if len(cs) > 0 {
		e.Remedy = "it has"
		for i, c := range cs[:min(len(cs), 20)] {
			if i > 0 {
				e.Remedy += ","
			}
			e.Remedy += " " + platformName(c.platform)
		}
	}
	return candidate{}, e
}
