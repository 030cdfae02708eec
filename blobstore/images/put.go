package images

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// maxAttempts bounds how often an operation starts over because somebody
// deletes at the same time what it has just written.
const maxAttempts = 16

// Put stores a manifest or an index in repo and points tags at it. When it
// returns without error all that the manifest names is there and stays, and the
// tags name it.
//
// Errors: blobstore.ErrTooLarge over Options.MaxManifest; ErrManifestInvalid;
// ErrDigestMismatch (fact "actual"); ErrManifestBlobUnknown when the repository
// lacks something it names (fact "missing": the digests, separated by spaces,
// at most 100); ErrTagConflict (fact "actual": what the tag names, or "absent");
// bucket.ErrFull; bucket.ErrUnavailable, after which the manifest and tags may
// or may not be there.
func (im *Images) Put(ctx context.Context, repo reference.Repository, o PutOptions) (Manifest, error) {
	m, p, err := im.accept(o)
	if err != nil {
		return Manifest{}, err
	}
	w := &writer{im: im, repo: repo, manifest: m, parsed: p}
	if o.Expect != (Expect{}) {
		for _, tag := range o.Tags {
			if err := im.expect(ctx, repo, tag, o.Expect); err != nil {
				return Manifest{}, err
			}
		}
	}
	for range maxAttempts {
		if err = w.link(ctx); err != nil {
			return Manifest{}, w.named(err)
		}
		if err = w.names(ctx, o.Tags, o.Expect); err == nil {
			return m, nil
		}
		if !errors.Is(err, errUnlinked) {
			return Manifest{}, err
		}
	}
	return Manifest{}, fail(blobstore.ErrConflict, m.Digest, "deleted by others as often as it was pushed")
}

// accept checks what has come by itself.
func (im *Images) accept(o PutOptions) (Manifest, *parsed, error) {
	p, err := parseWithin(o.MediaType, o.Bytes, im.options.MaxManifest, im.options.MaxDepth)
	alg := digest.SHA256
	if o.Digest != "" {
		if _, derr := reference.ParseDigest(string(o.Digest)); derr != nil {
			return Manifest{}, nil, derr
		}
		alg = o.Digest.Algorithm()
	}
	if errors.Is(err, blobstore.ErrTooLarge) { // not even hashed
		return Manifest{}, nil, err
	}
	d := alg.FromBytes(o.Bytes)
	if o.Digest != "" && d != o.Digest {
		e := remedy(fail(blobstore.ErrDigestMismatch, o.Digest, "the %d bytes that came have digest %s", len(o.Bytes), d), "send the manifest as it is")
		e.Facts = map[string]string{"actual": string(d)}
		return Manifest{}, nil, e
	}
	if err != nil {
		return Manifest{}, nil, about(err, d)
	}
	if len(o.Tags) > MaxTags {
		return Manifest{}, nil, fail(blobstore.ErrTooLarge, d, "%d tags with one manifest, at most %d", len(o.Tags), MaxTags)
	}
	return Manifest{
		Descriptor: Descriptor{Digest: d, MediaType: p.mediaType, Size: int64(len(o.Bytes))},
		Bytes:      o.Bytes, Subject: p.subjectDigest(), ArtifactType: p.referrerType(),
	}, p, nil
}

// about gives an error that says nothing of its subject the manifest for one.
func about(err error, d digest.Digest) error {
	if e, ok := errors.AsType[*blobstore.Error](err); ok && e.Subject == "" {
		e.Subject = string(d)
	}
	return err
}
