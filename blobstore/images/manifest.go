package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
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

// A parsed is a manifest or an index whose form has been checked.
type parsed struct {
	mediaType    string
	artifactType string
	config       *ocispec.Descriptor  // of a manifest
	layers       []ocispec.Descriptor // of a manifest
	manifests    []ocispec.Descriptor // of an index
	subject      *ocispec.Descriptor
	annotations  map[string]string
}

// parse checks b, which came with the media type given ("" when none did).
// Errors: ErrManifestInvalid, ErrTooLarge.
func parse(mediaType string, b []byte) (*parsed, error) {
	if len(b) > MaxManifestSize {
		return nil, remedy(fail(blobstore.ErrTooLarge, "manifest", "%d bytes, at most %d are accepted", len(b), MaxManifestSize),
			"keep what is large in blobs that the manifest names")
	}
	p, err := parseFields(mediaType, b)
	if e, ok := errors.AsType[*blobstore.Error](err); ok {
		return nil, e
	}
	if err != nil {
		return nil, fail(blobstore.ErrManifestInvalid, "", "%v", err)
	}
	return p, nil
}

func parseFields(mediaType string, b []byte) (*parsed, error) {
	if err := checkJSON(b); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, errors.New("it is no JSON object")
	}
	p := &parsed{}
	if err := p.kind(mediaType, o); err != nil {
		return nil, err
	}
	var version int
	if _, err := o.get("schemaVersion", &version); err != nil || version != 2 {
		return nil, errors.New("schemaVersion is not 2")
	}
	if _, err := o.get("artifactType", &p.artifactType); err != nil {
		return nil, err
	}
	if len(p.artifactType) > 255 {
		return nil, fmt.Errorf("artifactType has %d characters, allowed are 255", len(p.artifactType))
	}
	if _, err := o.get("annotations", &p.annotations); err != nil {
		return nil, err
	}
	var err error
	if p.subject, err = one(o, "subject"); err != nil {
		return nil, err
	}
	if IsIndex(p.mediaType) {
		p.manifests, err = many(o, "manifests")
		return p, err
	}
	if p.config, err = one(o, "config"); err != nil {
		return nil, err
	}
	if p.config == nil {
		return nil, errors.New("it has no config")
	}
	p.layers, err = many(o, "layers")
	return p, err
}

// kind finds out what o is. What comes without a media type is taken for what
// its fields make of it; a document that could be read as two kinds is refused,
// since clients would disagree on what it is (CVE-2021-41190).
func (p *parsed) kind(mediaType string, o object) error {
	var field string
	if _, err := o.get("mediaType", &field); err != nil {
		return err
	}
	mediaType = strings.TrimSpace(strings.ToLower(strings.SplitN(mediaType, ";", 2)[0]))
	var version int
	_, _ = o.get("schemaVersion", &version) // told apart later
	if version == 1 || strings.HasPrefix(mediaType, dockerSchema1) || strings.HasPrefix(field, dockerSchema1) {
		return remedy(fail(blobstore.ErrManifestInvalid, "", "it is in Docker's format of before 2016, schema 1"),
			"push the image with a client that writes OCI or schema 2 manifests, as all have done since")
	}
	_, hasManifests := o["manifests"]
	_, hasConfig := o["config"]
	_, hasLayers := o["layers"]
	switch {
	case mediaType == "" && field != "":
		mediaType = field
	case mediaType == "" && hasManifests:
		mediaType = ocispec.MediaTypeImageIndex
	case mediaType == "" && hasConfig && hasLayers:
		mediaType = ocispec.MediaTypeImageManifest
	}
	switch {
	case !IsManifest(mediaType) && !IsIndex(mediaType):
		return remedy(fail(blobstore.ErrManifestInvalid, "", "its media type %.100q is none of a manifest", mediaType),
			"send the manifest's own media type as Content-Type")
	case field != "" && field != mediaType:
		return fmt.Errorf("its mediaType is %.100q, but it was sent as %q", field, mediaType)
	case IsManifest(mediaType) && hasManifests:
		return errors.New("it is sent as the manifest of an image, but has manifests as an index has")
	case IsIndex(mediaType) && (hasConfig || hasLayers):
		return errors.New("it is sent as an index, but has a config or layers as an image has")
	}
	p.mediaType = mediaType
	return nil
}

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

// subjectDigest is the digest of the subject, or empty.
func (p *parsed) subjectDigest() digest.Digest {
	if p.subject == nil {
		return ""
	}
	return p.subject.Digest
}

// referrerType is the artifactType under which a referrer is listed
// (distribution-spec 1.1, "Listing Referrers").
func (p *parsed) referrerType() string {
	if p.artifactType == "" && p.config != nil {
		return p.config.MediaType
	}
	return p.artifactType
}
