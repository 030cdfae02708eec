package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// A hit is an image with something bad in it, and in which findings it is listed.
type hit struct {
	generation string
	tags       []reference.Tag
	found      []*found
}

// affected walks through the repositories once more, if blobs are bad, and notes in
// which images they are. What is bad only for an image that names it becomes a
// finding now, if the image is still live.
func (r *run) affected(ctx context.Context) error {
	if len(r.found) == 0 {
		return nil
	}
	r.phase("images", r.report.Manifests)
	keys := r.names(ctx, manifestsClass, tagsClass)
	var at reference.Repository
	hits := map[digest.Digest]*hit{}
	r.hitNamed(hits, at)
	for e, err := range ordered(ctx, recordsAtOnce, 4*recordsAtOnce, keys, r.look) {
		if err != nil {
			return fmt.Errorf("find the images with something bad: %w", err)
		}
		if e.repo != at {
			r.tagged(hits, at)
			at, hits = e.repo, map[digest.Digest]*hit{}
			r.hitNamed(hits, at)
		}
		switch {
		case e.class == manifestsClass && e.live:
			r.done()
			if err := r.hits(ctx, hits, e); err != nil {
				return err
			}
		case e.class == tagsClass && !e.name.Gone && e.digest != "":
			if h := hits[e.digest]; h != nil && (h.generation == "" || h.generation == e.name.Generation) && len(h.tags) < MaxTags {
				h.tags = append(h.tags, reference.Tag(e.rest))
			}
		}
	}
	r.tagged(hits, at)
	r.found = slices.DeleteFunc(r.found, func(f *found) bool { return !f.sure })
	return nil
}

// hitNamed begins with the findings about names in the repository: their tags are
// not known yet either.
func (r *run) hitNamed(hits map[digest.Digest]*hit, repo reference.Repository) {
	for _, f := range r.found {
		if repo == "" || f.Repository != repo || f.manifest == "" || len(f.Images) == 0 || f.tag != "" {
			continue
		}
		h := hits[f.manifest]
		if h == nil {
			h = &hit{}
			hits[f.manifest] = h
		}
		h.found = append(h.found, f)
	}
}

// hits notes which of the bad blobs an image names.
func (r *run) hits(ctx context.Context, hits map[digest.Digest]*hit, e entry) error {
	if h := hits[e.digest]; h != nil {
		h.generation = e.link.Generation
	}
	for _, n := range e.named {
		f := r.byBlob[n.digest]
		if f == nil {
			continue
		}
		if !f.sure || f.Kind == Unlinked {
			if n.may || f.Kind == Unlinked && !n.held {
				continue
			}
			is, err := r.stillBad(ctx, e, f)
			if err != nil {
				return err
			}
			if !is {
				continue
			}
			if !f.sure {
				r.v.log.Error("verification has found something bad", "kind", f.Kind, "subject", f.Subject,
					"problem", f.Problem, "repository", e.repo, "manifest", e.digest)
			}
			f.sure = true
		}
		if f.size < 0 {
			f.size = n.size
		}
		if n.held && len(f.holders) < maxHolders && !slices.Contains(f.holders, e.repo) {
			f.holders = append(f.holders, e.repo)
		}
		h := hits[e.digest]
		if h == nil {
			h = &hit{generation: e.link.Generation}
			hits[e.digest] = h
		}
		h.found = append(h.found, f)
		f.ImagesTotal++
		if len(f.Images) < MaxImages {
			f.Images = append(f.Images, Image{Repository: e.repo, Manifest: e.digest})
		}
	}
	return nil
}

// maxHolders bounds the repositories of one blob whose links are mended.
const maxHolders = 1000

// stillBad says whether an image that is live names what is not there, or may be
// taken away.
func (r *run) stillBad(ctx context.Context, e entry, f *found) (bool, error) {
	info, err := r.v.store.Describe(ctx, f.digest)
	if err != nil && !isUnknown(err) && !invalid(err) {
		return false, err
	}
	if f.Kind == Unlinked {
		if err != nil || info.State == gone {
			return false, nil
		}
		holds, err := r.v.store.HoldsBlob(ctx, e.repo, f.digest)
		if err != nil || holds {
			return false, err
		}
		return r.stillLive(ctx, e)
	}
	bad := err != nil || info.State == gone
	if f.Kind == Condemned {
		bad = err == nil && info.State == condemned
	}
	if !bad {
		return false, nil
	}
	return r.stillLive(ctx, e)
}

// tagged gives the images of a repository that was walked through their tags.
func (r *run) tagged(hits map[digest.Digest]*hit, repo reference.Repository) {
	for d, h := range hits {
		for _, f := range h.found {
			for i := range f.Images {
				if m := &f.Images[i]; m.Repository == repo && m.Manifest == d {
					m.Tags = h.tags
				}
			}
		}
	}
}

// readable says whether a blob can be read by now.
func (r *run) readable(ctx context.Context, d digest.Digest) (bool, error) {
	info, err := r.v.store.Describe(ctx, d)
	switch {
	case isUnknown(err) || err != nil && invalid(err):
		return false, nil
	case err != nil:
		return false, err
	}
	return wellFormed(info) == nil && info.State != gone && (info.Inline || len(info.Copies) > 0), nil
}
