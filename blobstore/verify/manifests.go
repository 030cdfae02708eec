package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// An entry is what there is under one name of a repository.
type entry struct {
	repoKey
	digest digest.Digest // of a link; what a tag or referrer names
	live   bool          // a link is
	link   link.Link
	life   string      // of a blob, for which its link was made
	named  []named     // by a manifest
	name   images.Name // of a tag or referrer
	wrong  *found
}

// What is kept in memory of one repository at most. What exceeds that is asked of
// the bucket again.
const (
	maxHeld  = 200_000 // blobs it holds, some 40 bytes each
	maxLinks = 50_000  // manifests
)

// A repository is the one that is walked through.
type repository struct {
	name     reference.Repository
	seed     maphash.Seed
	held     map[uint64]string // hashes of the blobs it holds, and for which of their lives
	allHeld  bool              // held has all of them
	links    map[digest.Digest]string
	allLinks bool
	reported map[digest.Digest]bool // blobs that it was found not to hold
}

func newRepository(name reference.Repository) *repository {
	return &repository{
		name: name, seed: maphash.MakeSeed(), held: map[uint64]string{}, allHeld: true,
		links: map[digest.Digest]string{}, allLinks: true, reported: map[digest.Digest]bool{},
	}
}

func (p *repository) hash(d digest.Digest) uint64 { return maphash.String(p.seed, string(d)) }

// manifests walks through the repositories, and notes what their images name.
func (r *run) manifests(ctx context.Context) error {
	r.phase("manifests", r.last.Manifests)
	keys := r.names(ctx, blobsClass, manifestsClass, referrersClass, tagsClass)
	at := newRepository("")
	for e, err := range ordered(ctx, recordsAtOnce, 4*recordsAtOnce, keys, r.look) {
		if err != nil {
			return fmt.Errorf("verify manifests: %w", err)
		}
		if e.repo != at.name {
			at = newRepository(e.repo)
			r.repos++
		}
		if err := r.entry(ctx, at, e); err != nil {
			return fmt.Errorf("verify %s: %w", e.key, err)
		}
	}
	return nil
}

// look reads what is under a name. It is called by several goroutines.
func (r *run) look(ctx context.Context, k repoKey) (entry, error) {
	e := entry{repoKey: k}
	var err error
	switch k.class {
	case blobsClass, manifestsClass:
		if e.digest, err = reference.ParseDigest(k.rest); err != nil {
			e.wrong = e.unreadable(err)
			return e, nil
		}
		err = r.lookLink(ctx, &e)
	case tagsClass, referrersClass:
		e.name, err = r.v.images.LookName(ctx, k.key)
		if e.digest = e.name.Digest; err == nil && !e.name.Gone {
			if _, perr := reference.ParseDigest(string(e.digest)); perr != nil {
				err = fmt.Errorf("%w: %s: %w", record.ErrInvalid, k.key, perr)
			}
		}
	}
	if err == nil && k.class == manifestsClass && e.live {
		err = r.lookManifest(ctx, &e)
	}
	switch {
	case errors.Is(err, bucket.ErrNotExist): // its tombstone was removed meanwhile
		return entry{repoKey: k}, nil
	case err != nil && invalid(err):
		e.live = false
		e.wrong = e.unreadable(err)
		return e, nil
	}
	return e, err
}

func (r *run) lookLink(ctx context.Context, e *entry) error {
	s, err := r.v.store.Links().Look(ctx, e.key)
	e.link, e.live = s.Link, err == nil && !s.Gone
	if e.live && e.class == blobsClass {
		if e.life, err = blobstore.LinkLife(e.link); err != nil {
			return fmt.Errorf("%w: %s: %w", record.ErrInvalid, e.key, err)
		}
	}
	return err
}

func (r *run) lookManifest(ctx context.Context, e *entry) error {
	s, err := images.SummaryOf(e.digest, e.link)
	if err != nil {
		return err
	}
	var none string
	e.named, none, err = r.tree(ctx, s.Descriptor, s.Sparse)
	if none != "" {
		e.wrong = &found{sure: true, Finding: Finding{
			Kind: Unreadable, Subject: string(e.digest), Repository: e.repo, Bytes: s.Size,
			Problem: "it is no manifest that can be read: " + none, Remedy: "delete it, and push the image again",
			Images: []Image{{Repository: e.repo, Manifest: e.digest}}, ImagesTotal: 1,
		}}
	}
	return err
}

// unreadable is the finding of a record under a name that is none.
func (e *entry) unreadable(err error) *found {
	f := &found{sure: true, Finding: Finding{
		Kind: Unreadable, Subject: e.key, Repository: e.repo, Problem: err.Error(), Remedy: remedyOf(Unreadable),
	}}
	switch e.class {
	case manifestsClass:
		f.manifest = e.digest
		f.Images, f.ImagesTotal = []Image{{Repository: e.repo, Manifest: e.digest}}, 1
	case tagsClass:
		f.tag = reference.Tag(e.rest)
		f.Images, f.ImagesTotal = []Image{{Repository: e.repo, Tags: []reference.Tag{f.tag}}}, 1
		f.Remedy = runRepair + " to remove it, and push the image again"
	}
	return f
}

// entry takes in what there is under a name.
func (r *run) entry(ctx context.Context, at *repository, e entry) error {
	if e.wrong != nil {
		r.add(e.wrong)
	}
	switch {
	case e.class == blobsClass && e.live:
		if at.allHeld = at.allHeld && len(at.held) < maxHeld; at.allHeld {
			at.held[at.hash(e.digest)] = e.life
		}
	case e.class == manifestsClass && e.live:
		r.report.Manifests++
		r.done()
		if at.allLinks = at.allLinks && len(at.links) < maxLinks; at.allLinks {
			at.links[e.digest] = e.link.Generation
		}
		return r.image(ctx, at, e)
	case e.class == tagsClass || e.class == referrersClass:
		if e.wrong == nil && e.digest != "" && !e.name.Gone {
			return r.follow(ctx, at, e)
		}
	}
	return nil
}

// image notes what an image names, and sees to it that the repository holds that.
func (r *run) image(ctx context.Context, at *repository, e entry) error {
	for _, n := range e.named {
		set := r.must
		if n.may {
			set = r.may
		}
		if err := set.Add([]byte(n.digest)); err != nil {
			return err
		}
		if !n.held || n.may || at.reported[n.digest] {
			continue
		}
		life, held := at.held[at.hash(n.digest)]
		var err error
		if !held { // perhaps it was pushed since, or there were too many to remember
			var l link.State
			l, err = r.v.store.Links().Look(ctx, blobstore.BlobLinkKey(e.repo, n.digest))
			if held = err == nil && !l.Gone; held {
				if life, err = blobstore.LinkLife(l.Link); err != nil {
					continue // a finding already
				}
			}
		}
		switch {
		case held:
			if err := r.lives.Add([]byte(string(n.digest) + " " + life)); err != nil {
				return err
			}
			continue
		case err != nil && !errors.Is(err, bucket.ErrNotExist) && !invalid(err):
			return err
		}
		if live, err := r.stillLive(ctx, e); err != nil || !live {
			return err
		}
		if len(at.reported) < maxFound {
			at.reported[n.digest] = true
		}
		r.add(&found{sure: true, manifest: e.digest, Finding: Finding{
			Kind: Unlinked, Subject: string(n.digest), Repository: e.repo, Bytes: n.size,
			Problem: fmt.Sprintf("repository %s has no link to it, and so it cannot be pulled, although image %s names it", e.repo, e.digest),
			Remedy:  remedyOf(Unlinked),
			Images:  []Image{{Repository: e.repo, Manifest: e.digest}}, ImagesTotal: 1,
		}})
	}
	return nil
}

// stillLive asks whether the link of an image is as it was.
func (r *run) stillLive(ctx context.Context, e entry) (bool, error) {
	l, err := r.v.store.Links().Look(ctx, images.ManifestKey(e.repo, e.digest))
	if errors.Is(err, bucket.ErrNotExist) || err != nil && invalid(err) {
		return false, nil
	}
	return err == nil && !l.Gone && l.Generation == e.link.Generation, err
}

// follow sees to it that what a tag or referrer names is there, or was deleted: a
// deletion leaves a tombstone where the manifest's link was, which stays for days.
func (r *run) follow(ctx context.Context, at *repository, e entry) error {
	if at.links[e.digest] == e.name.Generation {
		return nil
	}
	_, err := r.v.store.Links().Look(ctx, images.ManifestKey(e.repo, e.digest))
	if err == nil || invalid(err) { // of another life, or a finding already
		return nil
	}
	if !errors.Is(err, bucket.ErrNotExist) {
		return err
	}
	now, err := r.v.images.LookName(ctx, e.key)
	if errors.Is(err, bucket.ErrNotExist) || err != nil && invalid(err) || err == nil && (now.Gone || now.Generation != e.name.Generation) {
		return nil // changed meanwhile
	}
	if err != nil {
		return err
	}
	if r.mayBeDeleted(e.name.Since) {
		return nil
	}
	f := &found{sure: true, manifest: e.digest, Finding: Finding{
		Kind: Dangling, Subject: e.key, Repository: e.repo,
		Problem: fmt.Sprintf("it names manifest %s, of which the repository has no link, although nobody has deleted it", e.digest),
		Remedy:  remedyOf(Dangling),
		Images:  []Image{{Repository: e.repo, Manifest: e.digest}}, ImagesTotal: 1,
	}}
	if e.class == tagsClass {
		f.tag = reference.Tag(e.rest)
		f.Images[0].Tags = []reference.Tag{f.tag}
	} else {
		subject, _, _ := strings.Cut(e.rest, "/")
		f.Problem = fmt.Sprintf("it says that manifest %s refers to %s, and the repository has no link to the former, although nobody has deleted it", e.digest, subject)
	}
	r.add(f)
	return nil
}

// mayBeDeleted says whether what a name that was written then names can have been
// deleted so long ago that the tombstone is gone too.
func (r *run) mayBeDeleted(since time.Time) bool {
	b := r.v.store.Bucket()
	if _, ok := b.(bucket.ConditionalDeleter); !ok || !b.Features().RefusesLateWrites {
		return false // tombstones stay
	}
	return r.now().Sub(since) > r.tombstones()-2*r.v.store.Options().Skew
}

// tombstones is how long a tombstone stays at least, and the age at which data that
// no record names is an orphan.
func (r *run) tombstones() time.Duration {
	o := r.v.store.Options()
	return o.Grace + o.PublishWithin + o.Drain
}
