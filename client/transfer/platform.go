package transfer

import (
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// choosePlatform finds the manifest of an index that runs best on a platform,
// as in "linux/arm64/v8". Errors: ErrNotFound, ErrLocation.
func choosePlatform(index *manifest, platform string, src Source) (ocispec.Descriptor, error) {
	want, err := platforms.Parse(platform)
	if err != nil {
		return ocispec.Descriptor{}, fail(ErrLocation, "%q is no platform (write it as linux/amd64)", platform)
	}
	match := platforms.Only(want)
	var best *ocispec.Descriptor
	var have []string
	for i, d := range index.manifests {
		if d.Platform == nil || d.Platform.Architecture == "unknown" { // attestations
			continue
		}
		p := platforms.Normalize(*d.Platform)
		have = append(have, platforms.Format(p))
		if match.Match(p) && (best == nil || match.Less(p, platforms.Normalize(*best.Platform))) {
			best = &index.manifests[i]
		}
	}
	if best == nil {
		return ocispec.Descriptor{}, at(src, fail(ErrNotFound, "it has nothing for %s (it has %s)", platform, strings.Join(have, ", ")))
	}
	return *best, nil
}
