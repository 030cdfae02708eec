package images

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// What is here serves those who remove tags and manifests by rules: they look at
// everything in a repository, tombstones too, and remove something only if it
// still is as they saw it.

// A TagSeen is the record of a tag as it was seen.
type TagSeen struct {
	Tag        reference.Tag
	Digest     digest.Digest // what it names, or named when it was removed
	Generation string        // of the manifest's link: it counts while they agree
	Gone       bool          // it was removed, at Since
	Since      time.Time     // when it was written
	Former     []Former      // what it named before, the latest first; not all of it

	version record.Version
}

// A ManifestSeen is a manifest's link as it was seen.
type ManifestSeen struct {
	Descriptor
	Subject    digest.Digest
	Generation string
	Gone       bool      // it was removed, at Since; the rest is not known then
	Since      time.Time // when it was pushed
}

// SeenTags yields the records of all tags of repo, in the order of their names,
// those that do not count too: a call to the bucket for each that has changed
// since it was last seen. After an error the sequence ends.
// Errors: bucket.ErrUnavailable.
func (im *Images) SeenTags(ctx context.Context, repo reference.Repository) iter.Seq2[TagSeen, error] {
	return readahead.Map(ctx, im.listTags(ctx, repo, ""), func(ctx context.Context, info bucket.Info) (TagSeen, error) {
		p, err := im.listed(ctx, info)
		return TagSeen{
			Tag: reference.Tag(strings.TrimPrefix(info.Key, tagsPrefix(repo))), Digest: p.Digest, Generation: p.Generation,
			Gone: p.Gone || p.Digest == "", Since: p.Since, Former: p.Former, version: p.version,
		}, err
	})
}

// SeenManifests yields the links of all manifests of repo, in the order of their
// digests, those that are gone too: a call to the bucket for each. After an
// error the sequence ends. Errors: bucket.ErrUnavailable, record.ErrInvalid.
func (im *Images) SeenManifests(ctx context.Context, repo reference.Repository) iter.Seq2[ManifestSeen, error] {
	list := im.bucket.List(ctx, manifestsPrefix(repo), "")
	seen := readahead.Map(ctx, list, func(ctx context.Context, info bucket.Info) (ManifestSeen, error) {
		d := digest.Digest(strings.TrimPrefix(info.Key, manifestsPrefix(repo)))
		l, err := im.links.Look(ctx, info.Key)
		if absent(err) {
			return ManifestSeen{}, nil // its tombstone was removed
		}
		if err != nil {
			return ManifestSeen{}, err
		}
		m := ManifestSeen{Descriptor: Descriptor{Digest: d}, Generation: l.Generation, Gone: l.Gone, Since: l.Since}
		if l.Gone {
			return m, nil
		}
		s, err := summary(d, l.Link)
		m.Descriptor, m.Subject = s.Descriptor, s.Subject
		return m, err
	})
	return func(yield func(ManifestSeen, error) bool) {
		for m, err := range seen {
			if err == nil && m.Digest == "" {
				continue
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// UntagSeen removes a tag that is as it was seen, and says whether it did: one
// that was written meanwhile is left alone. Errors: bucket.ErrUnavailable, after
// which it may be gone.
func (im *Images) UntagSeen(ctx context.Context, repo reference.Repository, t TagSeen) (bool, error) {
	if t.Gone || t.version == (record.Version{}) {
		return false, nil
	}
	if err := im.prune(ctx, repo); err != nil {
		return false, err
	}
	was := &pointer{Digest: t.Digest, Former: t.Former}
	_, done, err := im.swapPointer(ctx, tagKey(repo, t.Tag), t.version, was.tombstone(im.clock.Now().UTC()))
	return done, err
}

// A Leaving is a manifest that is about to be removed since nothing names it.
type Leaving struct {
	manifest ManifestSeen
	token    string
}

// Leave says that a manifest is about to be removed. After Settle the caller
// looks once more for tags and manifests that name it, and then calls
// RemoveLeaving or Stay. Whoever tags it meanwhile, pushes it again or pushes an
// index that names it has it stay. The bool says whether it is still as it was
// seen. Errors: bucket.ErrUnavailable.
func (im *Images) Leave(ctx context.Context, repo reference.Repository, m ManifestSeen) (Leaving, bool, error) {
	token, err := im.links.Leave(ctx, ManifestKey(repo, m.Digest), m.Generation)
	if absent(err) {
		return Leaving{}, false, nil
	}
	return Leaving{m, token}, err == nil, err
}

// Settle waits until every writer sees what was said by Leave. Errors: ctx's.
func (im *Images) Settle(ctx context.Context) error { return im.links.Settle(ctx) }

// RemoveLeaving removes a manifest unless somebody had it stay, and says whether
// it did. Errors: bucket.ErrUnavailable, after which it may be gone.
func (im *Images) RemoveLeaving(ctx context.Context, repo reference.Repository, l Leaving) (bool, error) {
	if err := im.prune(ctx, repo); err != nil {
		return false, err
	}
	m := l.manifest
	done, err := im.links.RemoveLeaving(ctx, ManifestKey(repo, m.Digest), m.Generation, l.token)
	if done && m.Subject != "" {
		im.unrefer(ctx, repo, m.Subject, m.Digest, m.Generation)
	}
	return done, err
}

// Unleave takes back what Leave said, for one that something names after all;
// its age stays as it was. Errors: bucket.ErrUnavailable, which does no harm.
func (im *Images) Unleave(ctx context.Context, repo reference.Repository, l Leaving) error {
	err := im.links.Unleave(ctx, ManifestKey(repo, l.manifest.Digest), l.manifest.Generation, l.token)
	if errors.Is(err, link.ErrChanged) || absent(err) {
		return nil
	}
	return err
}
