package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// maxNesting is how many indexes deep a manifest may lie in an index.
const maxNesting = 8

// A named is a blob that a manifest names, directly or through what it names.
type named struct {
	ocispec.Descriptor
	what string // "layer", for messages
	// direct ones are named by the manifest itself: the repository must hold
	// them. Those behind a manifest were held when that was pushed.
	direct bool
	// optional ones are kept elsewhere, and promised if they are here too.
	optional bool
	// walled ones are behind a manifest that was accepted without some of what
	// it names: having it gives no right to them, and the repository must hold
	// them itself.
	walled bool
}

// A naming is all that a manifest names, gathered before it is promised.
type naming struct {
	im   *Images
	repo reference.Repository

	mu     sync.Mutex
	blobs  map[digest.Digest]named
	absent []named // manifests that an index names and the repository lacks
	layers map[digest.Digest]int64
	// children are the generations of the links of manifests that an index names.
	children map[digest.Digest]string
	// sparse says that something named, directly or not, is not in the
	// repository.
	sparse bool
	// platforms and created are those of an index's manifests.
	platforms []string
	created   time.Time
}

// gather finds out what p names. It reads the manifests of an index.
// Errors: ErrManifestInvalid; those of reading a manifest.
func (im *Images) gather(ctx context.Context, repo reference.Repository, p *parsed) (*naming, error) {
	n := &naming{im: im, repo: repo, blobs: map[digest.Digest]named{}, layers: map[digest.Digest]int64{}, children: map[digest.Digest]string{}}
	if err := n.add(p, true, false); err != nil {
		return nil, err
	}
	n.platforms = make([]string, len(p.manifests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, d := range p.manifests {
		g.Go(func() error { return n.child(ctx, i, d) })
	}
	err := g.Wait()
	n.sparse = n.sparse || len(n.absent) > 0
	n.platforms = slices.DeleteFunc(n.platforms, func(s string) bool { return s == "" })
	return n, err
}

// add takes in what p names but for the manifests of an index.
func (n *naming) add(p *parsed, direct, walled bool) error {
	if p.config != nil {
		if err := n.blob(named{Descriptor: *p.config, what: "config", direct: direct, walled: walled}); err != nil {
			return err
		}
	}
	for _, l := range p.layers {
		if err := n.blob(named{Descriptor: l, what: "layer", direct: direct, optional: elsewhere(l), walled: walled}); err != nil {
			return err
		}
	}
	return nil
}

func (n *naming) blob(b named) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b.what == "layer" {
		n.layers[b.Digest] = b.Size
	}
	old, ok := n.blobs[b.Digest]
	if ok && old.direct && b.direct && old.Size != b.Size {
		return fail(blobstore.ErrManifestInvalid, "", "it names %s with two sizes, %d and %d", b.Digest, old.Size, b.Size)
	}
	if ok && (old.direct || !b.direct) && (b.optional || !old.optional) && (b.walled || !old.walled) {
		return nil // what is known of it asks for more, and gives the right to it
	}
	if !ok && len(n.blobs) == MaxNamed {
		return fail(blobstore.ErrManifestInvalid, "", "it names more than %d blobs through its manifests", MaxNamed)
	}
	n.blobs[b.Digest] = b
	return nil
}

// child takes in the i-th manifest of an index, and what that names.
func (n *naming) child(ctx context.Context, i int, d ocispec.Descriptor) error {
	l, err := n.im.links.Get(ctx, ManifestKey(n.repo, d.Digest))
	switch {
	case absent(err) && d.MediaType != "" && !IsManifest(d.MediaType) && !IsIndex(d.MediaType):
		return n.blob(named{Descriptor: d, what: "blob", direct: true})
	case absent(err):
		n.mu.Lock()
		defer n.mu.Unlock()
		n.absent = append(n.absent, named{Descriptor: d, what: "manifest"})
		return nil
	case err != nil:
		return err
	}
	s, err := summary(d.Digest, l)
	if err != nil {
		return err
	}
	if s.Size != d.Size {
		return fail(blobstore.ErrManifestInvalid, "", "manifest %s has %d bytes, its descriptor says %d", d.Digest, s.Size, d.Size)
	}
	n.describe(i, d, s)
	n.mu.Lock()
	n.children[d.Digest] = l.Generation
	n.mu.Unlock()
	return n.follow(ctx, d.Digest, s.MediaType, 1, s.Sparse)
}

// describe notes what the index's own summary shows of its i-th manifest.
func (n *naming) describe(i int, d ocispec.Descriptor, s Summary) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sparse = n.sparse || s.Sparse
	switch {
	case d.Platform != nil:
		if d.Platform.OS != "unknown" && d.Platform.OS != "" {
			n.platforms[i] = platformName(*d.Platform)
		}
	case len(s.Platforms) == 1:
		n.platforms[i] = s.Platforms[0]
	}
	if s.Created.After(n.created) {
		n.created = s.Created
	}
}

// follow takes in a manifest and what it names, down to the last layer: its own
// link may be removed at any moment, and then only the index keeps these. A
// walled one is behind a sparse manifest.
func (n *naming) follow(ctx context.Context, d digest.Digest, mediaType string, depth int, walled bool) error {
	if depth > maxNesting {
		return fail(blobstore.ErrManifestInvalid, "", "indexes are nested more than %d deep", maxNesting)
	}
	n.mu.Lock()
	_, seen := n.blobs[d]
	n.mu.Unlock()
	if seen {
		return nil
	}
	var b []byte
	var err error
	if walled {
		_, err = n.im.links.Get(ctx, ManifestKey(n.repo, d))
	}
	if err == nil {
		b, err = n.im.store.ReadAll(ctx, d, MaxManifestSize)
	}
	if errors.Is(err, blobstore.ErrBlobUnknown) || absent(err) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.absent = append(n.absent, named{Descriptor: ocispec.Descriptor{Digest: d}, what: "manifest"})
		return nil
	}
	if err != nil {
		return err
	}
	p, err := parse(mediaType, b)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	self := ocispec.Descriptor{Digest: d, Size: int64(len(b)), MediaType: mediaType}
	if err := n.blob(named{Descriptor: self, what: "manifest"}); err != nil {
		return err
	}
	if err := n.add(p, false, walled); err != nil {
		return err
	}
	for _, c := range p.manifests {
		if c.MediaType != "" && !IsManifest(c.MediaType) && !IsIndex(c.MediaType) {
			err = n.blob(named{Descriptor: c, what: "blob", walled: walled})
		} else {
			err = n.follow(ctx, c.Digest, c.MediaType, depth+1, walled)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
