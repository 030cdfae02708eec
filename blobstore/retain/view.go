package retain

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A view is a repository as a pass sees it: some 300 bytes a tag and as many a
// manifest.
type view struct {
	now       time.Time // before it began to look
	manifests []manifest
	at        map[digest.Digest]int32 // places in manifests
	tags      []images.TagSeen        // those that count, in the order of their names
}

// A manifest is one of the repository, or one that was.
type manifest struct {
	images.ManifestSeen
	tags    int32         // that name it
	tag     reference.Tag // one of them
	lost    time.Time     // when a tag last ceased to name it, as far as is known
	namers  []int32       // the manifests of the repository that name it
	names   []int32       // those that it names
	refer   []int32       // those whose subject it is
	verdict verdict
}

// look reads all of the repository. Manifests come first: a tag that is written
// after them names one that is too young to go, or has it stay.
func (p *pass) look(ctx context.Context) (*view, error) {
	v := &view{now: p.store.Clock().Now(), at: map[digest.Digest]int32{}}
	for m, err := range p.images.SeenManifests(ctx, p.repo) {
		if err != nil {
			return nil, err
		}
		v.at[m.Digest] = int32(len(v.manifests))
		v.manifests = append(v.manifests, manifest{ManifestSeen: m})
	}
	for t, err := range p.images.SeenTags(ctx, p.repo) {
		if err != nil {
			return nil, err
		}
		v.tag(t)
	}
	if p.rule.UntaggedAfter == 0 {
		return v, nil // which manifest names which makes no difference
	}
	for i := range v.manifests {
		if err := p.edges(ctx, v, int32(i)); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// get returns the manifest of a digest; nil when the repository never had it, or
// nobody remembers.
func (v *view) get(d digest.Digest) *manifest {
	if i, ok := v.at[d]; ok {
		return &v.manifests[i]
	}
	return nil
}

// tag takes in the record of a tag.
func (v *view) tag(t images.TagSeen) {
	for _, f := range t.Former {
		if m := v.get(f.Digest); m != nil && f.Until.After(m.lost) {
			m.lost = f.Until
		}
	}
	m := v.get(t.Digest)
	switch {
	case t.Gone && m != nil && t.Since.After(m.lost):
		m.lost = t.Since
	case t.Gone:
	case m == nil: // of a manifest that is new since they were listed
		v.tags = append(v.tags, t)
	case !m.Gone && m.Generation == t.Generation:
		m.name(t.Tag)
		v.tags = append(v.tags, t)
	}
}

// name notes that a tag names m.
func (m *manifest) name(t reference.Tag) {
	if m.tags == 0 {
		m.tag = t
	}
	m.tags++
}

// untag notes which of the tags that were seen are gone now.
func (v *view) untag(gone func(i int) bool, now time.Time) {
	for i := range v.manifests {
		v.manifests[i].tags = 0
	}
	for i, t := range v.tags {
		m := v.get(t.Digest)
		switch {
		case m == nil:
		case gone(i):
			m.lost = now
		default:
			m.name(t.Tag)
		}
	}
}

// maxNesting is how many indexes deep manifests are followed, as when they are
// pushed.
const maxNesting = 8

// edges notes what a manifest names and refers to in the repository.
func (p *pass) edges(ctx context.Context, v *view, i int32) error {
	m := &v.manifests[i]
	if m.Gone {
		return nil
	}
	if s, ok := v.at[m.Subject]; ok && m.Subject != "" {
		v.manifests[s].refer = append(v.manifests[s].refer, i)
	}
	if !images.IsIndex(m.MediaType) {
		return nil
	}
	err := p.follow(ctx, v, i, m.Descriptor, map[digest.Digest]bool{}, 0)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		return &blobstore.Error{Class: blobstore.ErrCorrupt, Subject: string(m.Digest),
			Detail: "the manifest's bytes are not in the store, although a repository has it", Remedy: "push it again, or delete it"}
	}
	return err
}

// follow notes which manifests of the repository an index names, also through
// indexes that the repository does not have by themselves.
func (p *pass) follow(ctx context.Context, v *view, from int32, index images.Descriptor, seen map[digest.Digest]bool, depth int) error {
	b, err := p.store.Peek(ctx, index.Digest, images.MaxManifestSize)
	if errors.Is(err, blobstore.ErrBlobUnknown) && depth > 0 {
		return nil // of a sparse index
	}
	if err != nil {
		return err
	}
	names, err := images.ParseNames(index.MediaType, b)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", index.Digest, err)
	}
	for _, c := range names.Manifests {
		if seen[c.Digest] {
			continue
		}
		seen[c.Digest] = true
		to, ok := v.at[c.Digest]
		switch {
		case ok && !v.manifests[to].Gone:
			v.manifests[to].namers = append(v.manifests[to].namers, from)
			v.manifests[from].names = append(v.manifests[from].names, to)
		case images.IsIndex(c.MediaType) && depth < maxNesting:
			if err := p.follow(ctx, v, from, c, seen, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// followsRE is the name of a tag by which clients find what refers to a manifest
// where they do not ask for referrers: the tag schema of the distribution
// specification, and cosign's, which adds an ending.
var followsRE = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.[a-z0-9]{1,16})?$`)

// subjectOf returns the manifest that such a tag is about, if the repository has
// it or had it.
func (v *view) subjectOf(t reference.Tag) *manifest {
	m := followsRE.FindStringSubmatch(string(t))
	if m == nil {
		return nil
	}
	return v.get(digest.NewDigestFromEncoded(digest.SHA256, m[1]))
}
