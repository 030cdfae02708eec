package images

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of manifests, besides the two of ocispec.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1  = "application/vnd.docker.distribution.manifest.v1" // and what follows it
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar" // and what follows it
	ociForeign     = "application/vnd.oci.image.layer.nondistributable.v1.tar"
)

// IsManifest says whether mediaType is that of an image's manifest.
func IsManifest(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest
}

// IsIndex says whether mediaType is that of an index, or of a manifest list as
// Docker calls it.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

// elsewhere says whether d is a layer that registries do not keep, but hosts
// that its urls name.
func elsewhere(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 && (strings.HasPrefix(d.MediaType, dockerForeign) || strings.HasPrefix(d.MediaType, ociForeign))
}

// isLayer says whether mediaType is that of a filesystem layer that can be
// looked into. Manifests of attestations have an image's config, with what is
// no tar where layers are.
func isLayer(mediaType string) bool {
	for _, prefix := range []string{
		ocispec.MediaTypeImageLayer, ociForeign, dockerForeign, "application/vnd.docker.image.rootfs.diff.tar",
	} {
		if rest, ok := strings.CutPrefix(mediaType, prefix); ok {
			switch rest {
			case "", "+gzip", "+zstd", ".gzip", ".zstd":
				return true
			}
		}
	}
	return false
}

func isImageConfig(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageConfig || mediaType == dockerConfig
}
