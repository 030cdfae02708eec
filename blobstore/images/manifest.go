package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
)

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
	return parseWithin(mediaType, b, MaxManifestSize, MaxDepth)
}

// parseWithin is parse for a manifest of at most so many bytes, whose JSON is
// nested no deeper than depth.
func parseWithin(mediaType string, b []byte, most int64, depth int) (*parsed, error) {
	if int64(len(b)) > most {
		return nil, remedy(fail(blobstore.ErrTooLarge, "manifest", "%d bytes, at most %d are accepted", len(b), most),
			"keep what is large in blobs that the manifest names")
	}
	p, err := parseFields(mediaType, b, depth)
	if e, ok := errors.AsType[*blobstore.Error](err); ok {
		return nil, e
	}
	if err != nil {
		return nil, fail(blobstore.ErrManifestInvalid, "", "%v", err)
	}
	return p, nil
}

func parseFields(mediaType string, b []byte, depth int) (*parsed, error) {
	if err := checkJSON(b, true, depth); err != nil {
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
