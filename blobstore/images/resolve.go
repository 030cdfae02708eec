package images

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/reference"
)

// Resolve describes the manifest that l names in repo. By a tag it takes one
// call to the bucket, and one more when the manifest's link is not held.
// Errors: blobstore.ErrManifestUnknown; bucket.ErrUnavailable.
func (im *Images) Resolve(ctx context.Context, repo reference.Repository, l reference.Locator) (Descriptor, error) {
	s, err := im.Summary(ctx, repo, l)
	return s.Descriptor, err
}

// Summary is Resolve with what lists show of a manifest. Errors as there.
func (im *Images) Summary(ctx context.Context, repo reference.Repository, l reference.Locator) (Summary, error) {
	d := l.Digest
	if d == "" {
		var lk link.Link
		var err error
		if d, lk, err = im.resolveTag(ctx, repo, l.Tag); err != nil {
			return Summary{}, err
		}
		return summary(d, lk)
	}
	lk, err := im.links.Get(ctx, ManifestKey(repo, d))
	if absent(err) {
		return Summary{}, fail(blobstore.ErrManifestUnknown, d, "not in repository %s", repo)
	}
	if err != nil {
		return Summary{}, err
	}
	return summary(d, lk)
}

// resolveTag reads a tag and the link it counts by. A tag that leads nowhere is
// read once more: it may have been moved, and its former manifest deleted,
// between the two reads.
func (im *Images) resolveTag(ctx context.Context, repo reference.Repository, tag reference.Tag) (digest.Digest, link.Link, error) {
	key := tagKey(repo, tag)
	p, err := im.readPointer(ctx, key)
	for {
		if err != nil {
			return "", link.Link{}, err
		}
		l, ok, err := im.follow(ctx, repo, p)
		if err != nil {
			return "", link.Link{}, err
		}
		if ok {
			im.knowCatalog(repo, false) // it was written before the tag
			return p.Digest, l, nil
		}
		before := p
		if !before.Gone && before.Digest != "" {
			if p, err = im.readPointer(ctx, key); err != nil {
				return "", link.Link{}, err
			}
		}
		if p.version == before.version {
			return "", link.Link{}, fail(blobstore.ErrManifestUnknown, tag, "repository %s has no such tag", repo)
		}
	}
}

// Get returns the manifest that l names in repo, its bytes checked.
// Errors: blobstore.ErrManifestUnknown, blobstore.ErrCorrupt,
// bucket.ErrUnavailable.
func (im *Images) Get(ctx context.Context, repo reference.Repository, l reference.Locator) (Manifest, error) {
	m, _, err := im.get(ctx, repo, l)
	return m, err
}

// get is Get that also returns how to come by what the manifest names.
func (im *Images) get(ctx context.Context, repo reference.Repository, l reference.Locator) (Manifest, via, error) {
	s, err := im.Summary(ctx, repo, l)
	if err != nil {
		return Manifest{}, via{}, err
	}
	b, err := im.read(ctx, s.Digest)
	if err != nil {
		return Manifest{}, via{}, err
	}
	return Manifest{Descriptor: s.Descriptor, Bytes: b, Subject: s.Subject, ArtifactType: s.ArtifactType}, via{repo, s.Sparse}, nil
}

// read returns the bytes of a manifest that a link names.
func (im *Images) read(ctx context.Context, d digest.Digest) ([]byte, error) {
	b, err := im.store.ReadAll(ctx, d, MaxManifestSize)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		e := remedy(fail(blobstore.ErrCorrupt, d, "the manifest's bytes are not in the store, although a repository has it"), "push it again")
		return nil, e
	}
	return b, err
}
