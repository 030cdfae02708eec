package images

import (
	"time"

	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Descriptor says what a manifest or a blob is.
type Descriptor struct {
	Digest    digest.Digest
	MediaType string
	Size      int64 // bytes
}

// A Manifest is a manifest or an index as it was pushed.
type Manifest struct {
	Descriptor
	Bytes []byte
	// Subject is the manifest it refers to; empty if none. ArtifactType is
	// what referrers are filtered by: the manifest's artifactType or else its
	// config's media type.
	Subject      digest.Digest
	ArtifactType string
}

// A Summary is what lists show of a manifest; it is kept with the manifest's
// link, so that a list reads no manifests.
type Summary struct {
	Descriptor
	Subject      digest.Digest
	ArtifactType string
	// Layers is the number of layers, and LayersSize their bytes as pushed; of
	// all its manifests for an index.
	Layers     int
	LayersSize int64
	// Platforms as in "linux/arm64/v8"; of an index in its order, of an image
	// what its config says, of an artifact none.
	Platforms []string
	Created   time.Time // what the config says; may be zero
	Pushed    time.Time
	// Sparse says that something that it names, directly or not, was not there
	// when it was pushed.
	Sparse bool
}

// A TagInfo is a tag and what it names.
type TagInfo struct {
	Tag     reference.Tag
	Digest  digest.Digest
	Summary Summary
}

// PutOptions say what to store and under which names.
type PutOptions struct {
	// MediaType is the Content-Type the manifest came with, without
	// parameters. Empty means what the manifest's mediaType field says.
	MediaType string
	Bytes     []byte
	// Digest, when set, must be the digest of Bytes. Otherwise the manifest
	// is named by its sha256.
	Digest digest.Digest
	// Tags are pointed at the manifest, in this order, at most MaxTags.
	Tags []reference.Tag
	// Expect must hold for each tag. When it does not for one of them, none is
	// written, unless somebody changes one in this very moment.
	Expect Expect
}

// An Expect says what a tag must name for a change to be made. The zero Expect
// is satisfied by anything.
type Expect struct {
	absent bool
	digest digest.Digest
}

// ExpectAbsent is satisfied by a tag that does not exist.
func ExpectAbsent() Expect { return Expect{absent: true} }

// ExpectDigest is satisfied by a tag that names d; an empty d by anything.
func ExpectDigest(d digest.Digest) Expect { return Expect{digest: d} }

// An Image is what a reference names, taken apart.
type Image struct {
	// Target is what the reference names: an index, or the manifest itself.
	Target Descriptor
	// Manifest is the one for the platform.
	Manifest Manifest
	// Config and ConfigBytes are zero for a manifest without one. OCI is the
	// config parsed, nil when it is not that of a container image.
	Config      Descriptor
	ConfigBytes []byte
	OCI         *ocispec.Image
	// Platform is the config's, as in "linux/arm64/v8"; empty when OCI is nil.
	Platform string
	Layers   []Layer // lowest first
	// History is what made the image, oldest first.
	History []HistoryEntry
	// Platforms are the manifests of the index when Target is one, without
	// those that are no images (attestations).
	Platforms []PlatformManifest

	via via
}

// A Layer is one layer of an image and what is known of it.
type Layer struct {
	Blob Descriptor
	// DiffID is the digest of its tar as the config has it, and ChainID names
	// it with all the layers below. Empty where no config says so.
	DiffID, ChainID digest.Digest
	State           layers.State
	Problem         string // with layers.Invalid: what is wrong, and the remedy
}

// A HistoryEntry is an instruction that took part in making an image.
type HistoryEntry struct {
	Created   time.Time // zero when unknown
	CreatedBy string    // as in "RUN npm install"
	Author    string
	Comment   string
	// Layer is the index in Image.Layers of the layer it made, or -1 when it
	// changed no file.
	Layer int
}

// A PlatformManifest is a manifest of an index.
type PlatformManifest struct {
	Descriptor
	Platform string
}
