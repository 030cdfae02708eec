package images

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// errUnlinked says that the manifest was deleted while a name was written for
// it. It does not leave the package.
var errUnlinked = errors.New("manifest is not linked")

// tagFresh is how old a tag may be that is not written again when it is to name
// what it names already: retention goes by when a tag was written.
const tagFresh = 24 * time.Hour

// Tag points a tag at the manifest d of the same repository if expect holds.
// Errors: blobstore.ErrManifestUnknown, ErrTagConflict (as Put);
// bucket.ErrUnavailable, after which the tag may or may not have been written.
func (im *Images) Tag(ctx context.Context, repo reference.Repository, tag reference.Tag, d digest.Digest, expect Expect) error {
	err := im.writeTag(ctx, repo, tag, d, expect)
	if errors.Is(err, errUnlinked) {
		return fail(blobstore.ErrManifestUnknown, d, "not in repository %s", repo)
	}
	return err
}

// Untag removes a tag. Errors: blobstore.ErrManifestUnknown when there is no
// such tag; bucket.ErrUnavailable, after which it may or may not be there.
func (im *Images) Untag(ctx context.Context, repo reference.Repository, tag reference.Tag) error {
	if _, _, err := im.resolveTag(ctx, repo, tag); err != nil {
		return err
	}
	if err := im.prune(ctx, repo); err != nil {
		return err
	}
	key := tagKey(repo, tag)
	old, err := im.readPointer(ctx, key)
	for range maxAttempts {
		if err != nil || old.Gone || old.version == (record.Version{}) {
			return err // somebody else removed it, which is what was asked for
		}
		var done bool
		old, done, err = im.swapPointer(ctx, key, old.version, old.tombstone(im.clock.Now().UTC()))
		if done {
			return nil
		}
	}
	return fail(blobstore.ErrConflict, tag, "changed by others all the time")
}

// writeTag points a tag at the manifest d if expect holds. The order of its
// steps is what makes it safe (see the package comment): the version that is
// replaced is read first, then the link, and the link once more at the end.
// Errors: errUnlinked, ErrTagConflict, bucket.ErrUnavailable.
func (im *Images) writeTag(ctx context.Context, repo reference.Repository, tag reference.Tag, d digest.Digest, expect Expect) error {
	key := tagKey(repo, tag)
	old, read, err := im.before(ctx, repo, key, expect)
	for range maxAttempts {
		if err != nil {
			return err
		}
		if err := im.meets(ctx, repo, tag, old, expect); err != nil {
			return err
		}
		l, err := im.links.Get(ctx, ManifestKey(repo, d))
		if absent(err) {
			return errUnlinked
		}
		if err != nil {
			return err
		}
		if read && !old.Gone && old.Digest == d && old.Generation == l.Generation && im.clock.Now().Sub(old.Since) < tagFresh {
			return im.stillLinked(ctx, repo, d, l.Generation) // it says so already
		}
		if old.version == (record.Version{}) {
			if err := im.ensureCatalog(ctx, repo, true); err != nil {
				return err
			}
		}
		at := im.clock.Now().UTC()
		p := &pointer{Digest: d, Generation: l.Generation, Since: at, Former: old.former(d, at)}
		now, done, err := im.swapPointer(ctx, key, old.version, p)
		if err != nil {
			return err
		}
		tagWritten.Hit()
		if done {
			if err = im.stillLinked(ctx, repo, d, l.Generation); errors.Is(err, errUnlinked) {
				im.restore(ctx, key, now, old)
			}
			return err
		}
		old, read = now, true
	}
	return fail(blobstore.ErrConflict, tag, "changed by others all the time")
}

// before returns the version of a tag that is to be replaced, and whether it
// was read now. It is guessed where the guess saves a call: the version seen
// last, or that there is none in a repository that is known to exist. (Where
// that is not known, reading a tag that exists saves reading the catalog.)
func (im *Images) before(ctx context.Context, repo reference.Repository, key string, expect Expect) (storedPointer, bool, error) {
	if expect == (Expect{}) {
		if p, ok := im.pointers.Get(key); ok {
			return p, false, nil
		}
		if im.knownCatalog(repo) {
			return storedPointer{}, false, nil
		}
	}
	p, err := im.readPointer(ctx, key)
	return p, true, err
}

// stillLinked asks again whether the manifest is linked as it was, which costs
// no call while the link is held. One that is leaving stays: somebody is about to
// remove it since nothing names it (see package link). Errors: errUnlinked.
func (im *Images) stillLinked(ctx context.Context, repo reference.Repository, d digest.Digest, generation string) error {
	if mutant.NoLookAfterTag.On() {
		return nil
	}
	key := ManifestKey(repo, d)
	l, err := im.links.Get(ctx, key)
	if err == nil && l.Generation == generation && l.Leaving != "" {
		_, err = im.links.Stay(ctx, key, generation)
	}
	if absent(err) || err == nil && l.Generation != generation {
		return errUnlinked
	}
	return err
}

// restore puts back the tag that was replaced by one that leads nowhere. It is
// a courtesy: if it fails the tag is as absent as its manifest.
func (im *Images) restore(ctx context.Context, key string, now, old storedPointer) {
	p := old.pointer
	if old.version == (record.Version{}) {
		p = pointer{Gone: true, Since: im.clock.Now().UTC()}
	}
	if _, _, err := im.swapPointer(ctx, key, now.version, &p); err != nil {
		im.log.Warn("a tag whose manifest was deleted could not be put back", "key", key, "error", err)
	}
}

// expect reads a tag and says whether e holds for it. Errors: ErrTagConflict.
func (im *Images) expect(ctx context.Context, repo reference.Repository, tag reference.Tag, e Expect) error {
	p, err := im.readPointer(ctx, tagKey(repo, tag))
	if err != nil {
		return err
	}
	return im.meets(ctx, repo, tag, p, e)
}

// meets says whether e holds for a tag whose record is p. Errors: ErrTagConflict.
func (im *Images) meets(ctx context.Context, repo reference.Repository, tag reference.Tag, p storedPointer, e Expect) error {
	if !e.absent && e.digest == "" {
		return nil
	}
	actual := "absent"
	if _, ok, err := im.follow(ctx, repo, p); err != nil {
		return err
	} else if ok {
		actual = string(p.Digest)
	}
	if e.absent && actual == "absent" || !e.absent && actual == string(e.digest) {
		return nil
	}
	err := remedy(fail(blobstore.ErrTagConflict, tag, "in repository %s it names %s", repo, actual),
		"look at what it names now, and decide again")
	err.Facts = map[string]string{"actual": actual}
	return err
}
