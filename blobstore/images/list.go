package images

import (
	"context"
	"iter"
	"math"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/reference"
)

// pageSize is how many names a listing of the bucket gives for one call.
const pageSize = 1000

// listed returns the pointer that a listing has found, from the cache if it is
// of the version that was listed.
func (im *Images) listed(ctx context.Context, info bucket.Info) (storedPointer, error) {
	if p, ok := im.pointers.Get(info.Key); ok && p.version.ETag == info.ETag {
		return p, nil
	}
	return im.readPointer(ctx, info.Key)
}

// Tags yields the tags of repo greater than after, in the order of their bytes,
// with what they name: a call to the bucket for each whose record has changed
// since it was seen, and one for each manifest. After an error the sequence
// ends. Errors: blobstore.ErrRepositoryUnknown, bucket.ErrUnavailable.
func (im *Images) Tags(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[TagInfo, error] {
	return func(yield func(TagInfo, error) bool) {
		if err := im.exists(ctx, repo); err != nil {
			yield(TagInfo{}, err)
			return
		}
		for t, err := range readahead.Map(ctx, im.listTags(ctx, repo, after), func(ctx context.Context, info bucket.Info) (TagInfo, error) {
			return im.tagInfo(ctx, repo, info)
		}) {
			if err == nil && t.Tag == "" {
				continue
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

func (im *Images) listTags(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[bucket.Info, error] {
	start := ""
	if after != "" {
		start = tagKey(repo, after)
	}
	return im.bucket.List(ctx, tagsPrefix(repo), start)
}

// tagInfo describes a tag that was listed; it is zero when the tag does not
// count.
func (im *Images) tagInfo(ctx context.Context, repo reference.Repository, info bucket.Info) (TagInfo, error) {
	p, err := im.listed(ctx, info)
	if err != nil {
		return TagInfo{}, err
	}
	l, ok, err := im.follow(ctx, repo, p)
	if err == nil && !ok && !p.Gone {
		// Moved, and its former manifest deleted, since it was listed?
		if p, err = im.readPointer(ctx, info.Key); err == nil {
			l, ok, err = im.follow(ctx, repo, p)
		}
	}
	if err != nil || !ok {
		return TagInfo{}, err
	}
	s, err := summary(p.Digest, l)
	if err != nil {
		return TagInfo{}, err
	}
	tag := reference.Tag(strings.TrimPrefix(info.Key, tagsPrefix(repo)))
	return TagInfo{Tag: tag, Digest: p.Digest, Summary: s}, nil
}

// TagNames is Tags without what they name, and needs fewer bucket calls: one a
// thousand names and one more, as long as nothing was ever deleted from repo.
func (im *Images) TagNames(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[reference.Tag, error] {
	return im.tagNames(ctx, repo, after, math.MaxInt)
}

// maxPassed is how many tags that have been deleted a page passes over.
const maxPassed = 1000

// Unfinished is the error of a list that has passed over so much which does not
// count that it goes on only when it is asked again, after Last.
type Unfinished struct{ Last reference.Tag }

func (u *Unfinished) Error() string { return "the list goes on after " + string(u.Last) }

// SomeTagNames is TagNames that ends with an *Unfinished once it has passed over
// a thousand tags that have been deleted, so that a page has an end.
func (im *Images) SomeTagNames(ctx context.Context, repo reference.Repository, after reference.Tag) iter.Seq2[reference.Tag, error] {
	return im.tagNames(ctx, repo, after, maxPassed)
}

func (im *Images) tagNames(ctx context.Context, repo reference.Repository, after reference.Tag, passes int) iter.Seq2[reference.Tag, error] {
	return func(yield func(reference.Tag, error) bool) {
		last, some := after, false
		for infos, err := range readahead.Chunks(im.listTags(ctx, repo, after), pageSize) {
			if err != nil {
				yield("", err)
				return
			}
			some = true
			// Asked after the listing: what was removed by then is noted.
			pruned, err := im.pruned(ctx, repo)
			if err != nil {
				yield("", err)
				return
			}
			if pruned {
				im.countingTags(ctx, repo, last, passes)(yield)
				return
			}
			for _, info := range infos {
				last = reference.Tag(strings.TrimPrefix(info.Key, tagsPrefix(repo)))
				if !yield(last, nil) {
					return
				}
			}
		}
		if !some {
			if err := im.exists(ctx, repo); err != nil {
				yield("", err)
			}
		}
	}
}

// countingTags yields the names of Tags, and an *Unfinished when it has passed
// over as many others as passes says.
func (im *Images) countingTags(ctx context.Context, repo reference.Repository, after reference.Tag, passes int) iter.Seq2[reference.Tag, error] {
	type named struct {
		tag    reference.Tag
		counts bool
	}
	look := func(ctx context.Context, info bucket.Info) (named, error) {
		t, err := im.tagInfo(ctx, repo, info)
		return named{reference.Tag(strings.TrimPrefix(info.Key, tagsPrefix(repo))), t.Tag != ""}, err
	}
	return func(yield func(reference.Tag, error) bool) {
		passed := 0
		for t, err := range readahead.Map(ctx, im.listTags(ctx, repo, after), look) {
			switch {
			case err != nil:
				yield("", err)
				return
			case t.counts:
				if !yield(t.tag, nil) {
					return
				}
			default:
				if passed++; passed >= passes {
					yield("", &Unfinished{t.tag})
					return
				}
			}
		}
	}
}

// Manifests yields the manifests of repo whose digests are greater than after,
// in the order of their digests: a call to the bucket for each. After an error
// the sequence ends.
// Errors: blobstore.ErrRepositoryUnknown, bucket.ErrUnavailable.
func (im *Images) Manifests(ctx context.Context, repo reference.Repository, after digest.Digest) iter.Seq2[Descriptor, error] {
	return func(yield func(Descriptor, error) bool) {
		if err := im.exists(ctx, repo); err != nil {
			yield(Descriptor{}, err)
			return
		}
		start := ""
		if after != "" {
			start = ManifestKey(repo, after)
		}
		list := im.bucket.List(ctx, manifestsPrefix(repo), start)
		for d, err := range readahead.Map(ctx, list, func(ctx context.Context, info bucket.Info) (Descriptor, error) {
			l, err := im.links.Get(ctx, info.Key)
			if absent(err) {
				return Descriptor{}, nil
			}
			if err != nil {
				return Descriptor{}, err
			}
			s, err := summary(digest.Digest(strings.TrimPrefix(info.Key, manifestsPrefix(repo))), l)
			return s.Descriptor, err
		}) {
			if err == nil && d.Digest == "" {
				continue
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}
