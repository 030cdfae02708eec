package images

import (
	"context"
	"errors"
	"iter"
	"log/slog"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of what is accepted and read.
const (
	MaxManifestSize = 4 << 20 // bytes
	MaxConfigSize   = 4 << 20 // bytes; a larger config is stored, but not looked into
	MaxDescriptors  = 10_000  // named by one manifest
	MaxTags         = 10      // given with one manifest
)

// Options of Images; the zero value is the default.
type Options struct {
	// AllowSparseIndex accepts an index some of whose manifests are not in the
	// repository.
	AllowSparseIndex bool
	Logger           *slog.Logger
}

// Images keeps manifests and tags in a store. Safe for concurrent use.
type Images struct{}

// New returns Images over s whose layers l checks. It holds nothing that needs
// closing; s and l are closed by the caller.
func New(s *blobstore.Store, l *layers.Checker, o Options) *Images { return &Images{} }

// Resolve describes the manifest that l names in repo.
// Errors: blobstore.ErrManifestUnknown; bucket.ErrUnavailable.
func (im *Images) Resolve(ctx context.Context, repo reference.Repository, l reference.Locator) (Descriptor, error) {
	return Descriptor{}, errors.ErrUnsupported
}

// Summary is Resolve with what lists show of a manifest. Errors as there.
func (im *Images) Summary(ctx context.Context, repo reference.Repository, l reference.Locator) (Summary, error) {
	return Summary{}, errors.ErrUnsupported
}

// Get returns the manifest that l names in repo, its bytes checked.
// Errors: blobstore.ErrManifestUnknown, blobstore.ErrCorrupt,
// bucket.ErrUnavailable.
func (im *Images) Get(ctx context.Context, repo reference.Repository, l reference.Locator) (Manifest, error) {
	return Manifest{}, errors.ErrUnsupported
}

// Put stores a manifest or an index in repo and points tags at it. When it
// returns without error all that the manifest names is there and stays, and the
// tags name it.
//
// Errors: blobstore.ErrTooLarge over MaxManifestSize; ErrManifestInvalid;
// ErrDigestMismatch (fact "actual"); ErrManifestBlobUnknown when the repository
// lacks something it names (fact "missing": the digests, separated by spaces,
// at most 100); ErrTagConflict (fact "actual": what the tag names, or "absent");
// bucket.ErrFull; bucket.ErrUnavailable, after which the manifest and tags may
// or may not be there.
func (im *Images) Put(ctx context.Context, repo reference.Repository, o PutOptions) (Manifest, error) {
	return Manifest{}, errors.ErrUnsupported
}

// Tag points a tag at the manifest d of the same repository if expect holds.
// Errors: blobstore.ErrManifestUnknown, ErrTagConflict (as Put);
// bucket.ErrUnavailable, after which the tag may or may not have been written.
func (im *Images) Tag(ctx context.Context, repo reference.Repository, tag reference.Tag, d digest.Digest, expect Expect) error {
	return errors.ErrUnsupported
}

// Delete removes the manifest d from repo, and with it every tag that names
// it. Blobs are not touched, nor are the manifests of an index. It returns when
// no server answers with the manifest any more, which takes the time of a lease
// (blobstore.Options.LinkLease).
// Errors: blobstore.ErrManifestUnknown, bucket.ErrUnavailable.
func (im *Images) Delete(ctx context.Context, repo reference.Repository, d digest.Digest) error {
	return errors.ErrUnsupported
}

// Untag removes a tag. Errors: blobstore.ErrManifestUnknown when there is no
// such tag; bucket.ErrUnavailable.
func (im *Images) Untag(ctx context.Context, repo reference.Repository, tag reference.Tag) error {
	return errors.ErrUnsupported
}

// Tags yields the tags of repo greater than after, in the order of their bytes,
// with what they name. After an error the sequence ends.
// Errors: blobstore.ErrRepositoryUnknown, bucket.ErrUnavailable.
func (im *Images) Tags(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[TagInfo, error] {
	return nil
}

// TagNames is Tags without what they name, and needs fewer bucket calls: one a
// thousand names and one more, as long as nothing was ever deleted from repo.
func (im *Images) TagNames(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[reference.Tag, error] {
	return nil
}

// Manifests yields the manifests of repo whose digests are greater than after,
// in the order of their digests. After an error the sequence ends.
// Errors: blobstore.ErrRepositoryUnknown, bucket.ErrUnavailable.
func (im *Images) Manifests(ctx context.Context, repo reference.Repository, after digest.Digest) iter.Seq2[Descriptor, error] {
	return nil
}

// Repositories yields the names of the repositories greater than after, in the
// order of their bytes. One whose manifests have all been deleted is among
// them. Errors: bucket.ErrUnavailable, after which the sequence ends.
func (im *Images) Repositories(ctx context.Context, after string) iter.Seq2[reference.Repository, error] {
	return nil
}

// Referrers yields the descriptors of the manifests in repo whose subject is
// the digest given, in the order of their digests; none when there is no such
// manifest or repository. Each has its annotations and its artifact type.
// Errors: bucket.ErrUnavailable, after which the sequence ends.
func (im *Images) Referrers(ctx context.Context, repo reference.Repository, subject digest.Digest) iter.Seq2[ocispec.Descriptor, error] {
	return nil
}

// Image returns what l names in repo, taken apart. When that is an index,
// platform ("linux/amd64", "linux/arm64/v8") chooses among its manifests; empty
// means the server's own, or the only one there is.
// Errors: blobstore.ErrManifestUnknown, also when the index has nothing for the
// platform; ErrManifestInvalid when platform is none or the config cannot be
// read; ErrBlobUnknown, ErrCorrupt; bucket.ErrUnavailable.
func (im *Images) Image(ctx context.Context, repo reference.Repository, l reference.Locator, platform string) (Image, error) {
	return Image{}, errors.ErrUnsupported
}

// WaitLayers waits until every layer of i has been checked, and brings their
// states up to date. Errors: those of layers.Checker.Wait.
func (im *Images) WaitLayers(ctx context.Context, i *Image) error { return errors.ErrUnsupported }
