package images

import (
	"context"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// refer writes the record by which the manifest is found from its subject.
// Errors: errUnlinked.
func (w *writer) refer(ctx context.Context) error {
	key := referrersPrefix(w.repo, w.manifest.Subject) + string(w.manifest.Digest)
	old, ok := w.im.pointers.Get(key)
	if !ok && !w.made { // a manifest that was there: so is this, most likely
		var err error
		if old, err = w.im.readPointer(ctx, key); err != nil {
			return err
		}
	}
	for range maxAttempts {
		if !old.Gone && old.Generation == w.live.Generation {
			return nil
		}
		p := &pointer{
			Digest: w.manifest.Digest, Generation: w.live.Generation, Since: w.im.clock.Now().UTC(),
			Descriptor: &ocispec.Descriptor{
				MediaType: w.manifest.MediaType, Digest: w.manifest.Digest, Size: w.manifest.Size,
				ArtifactType: w.manifest.ArtifactType, Annotations: w.parsed.annotations,
			},
		}
		now, done, err := w.im.swapPointer(ctx, key, old.version, p)
		if err != nil || done {
			return err
		}
		if old = now; old.version == (record.Version{}) || old.Generation == w.live.Generation {
			continue
		}
		// Somebody wrote it for another life of the link: which one lives now?
		if err := w.im.stillLinked(ctx, w.repo, w.manifest.Digest, w.live.Generation); err != nil {
			return err
		}
	}
	return errUnlinked
}

// Referrers yields the descriptors of the manifests in repo whose subject is
// the digest given, in the order of their digests; none when there is no such
// manifest or repository. Each has its annotations and its artifact type.
// After an error the sequence ends. Errors: bucket.ErrUnavailable.
func (im *Images) Referrers(ctx context.Context, repo reference.Repository, subject digest.Digest) iter.Seq2[ocispec.Descriptor, error] {
	return func(yield func(ocispec.Descriptor, error) bool) {
		list := im.bucket.List(ctx, referrersPrefix(repo, subject), "")
		for p, err := range readahead.Map(ctx, list, func(ctx context.Context, info bucket.Info) (*ocispec.Descriptor, error) {
			p, err := im.listed(ctx, info)
			if err != nil {
				return nil, err
			}
			_, ok, err := im.follow(ctx, repo, p)
			if !ok {
				return nil, err
			}
			return p.Descriptor, err
		}) {
			if err != nil {
				yield(ocispec.Descriptor{}, err)
				return
			}
			if p != nil && !yield(*p, nil) {
				return
			}
		}
	}
}
