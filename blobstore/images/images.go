// Package images keeps manifests, and the tags that name them, in repositories.
//
// A manifest's bytes are a blob. That a repository has the manifest is a link
// (repos/<name>/_manifests/<digest>), whose payload is the manifest's
// [Summary]; a tag is a record (repos/<name>/_tags/<tag>) with a digest and the
// generation of the link for which it was written. A tag counts only while the
// link is live and of that generation, so deleting a manifest is one
// compare-and-swap, of its link, and takes its tags along. Records of referrers
// (repos/<name>/_referrers/<subject>/<digest>) count by the same rule.
//
// # Names come last
//
// Put promises everything that a manifest names, directly or through what it
// names, then writes the link, looks at the clock, and only then writes the
// names by which others find it: the record of a referrer, catalog/<name>+, the
// tags. If the link landed after the first of the promises ended, all is
// promised anew before anything more is written, and the link is taken back if
// something has been collected. A manifest whose link is live is a root: all it
// names is kept, so pushing it again promises nothing.
//
// # Tags and deletes at once
//
// Links are leased (package link): whoever removes one waits until no server
// relies on it. A tag is written only while the link of the manifest is held,
// after the version that it replaces was read, and the link is looked at again
// before the write is acknowledged. So an acknowledged tag names a manifest
// that was there at that moment, and a write that was stopped half-way never
// replaces a tag that was written after the manifest was deleted.
package images

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Limits of what is accepted and read.
const (
	MaxManifestSize = 4 << 20 // bytes
	MaxConfigSize   = 4 << 20 // bytes; a larger config is stored, but not looked into
	MaxDescriptors  = 10_000  // named by one manifest
	MaxNamed        = 50_000  // named by an index through its manifests
	MaxTags         = 10      // given with one manifest
	MaxDepth        = 32      // to which JSON is nested
)

// parallel is how many calls to the bucket one request makes at once.
const parallel = 32

// Options of Images; the zero value is the default.
type Options struct {
	// AllowSparse accepts an index some of whose manifests are not in the
	// repository, and an image some of whose layers are not. A config must be
	// there.
	AllowSparse bool
	// MaxManifest is how many bytes a manifest may have that is pushed, and
	// MaxDepth how deep its JSON may be nested: MaxManifestSize and MaxDepth, and
	// never more. What is stored already is read by those.
	MaxManifest int64
	MaxDepth    int
	Logger      *slog.Logger // slog.Default()
}

// Images keeps manifests and tags in a store. Safe for concurrent use.
type Images struct {
	store   *blobstore.Store
	records *record.Store
	links   *link.Store
	bucket  bucket.Bucket
	clock   blobstore.Clock
	checker *layers.Checker // may be nil
	options Options
	log     *slog.Logger

	pointers *lru.Cache[string, storedPointer]              // by key
	catalogs *lru.Cache[reference.Repository, catalogEntry] // known to exist
	fresh    *lru.Cache[digest.Digest, time.Time]           // when blobs were stored here
}

// What the caches of one Images weigh at most, in bytes.
const (
	pointerCache = 8 << 20
	catalogCache = 2 << 20
	freshCache   = 5000 // blobs
)

// New returns Images over s whose layers l checks; l may be nil, and then
// layers stay pending. It holds nothing that needs closing; s and l are closed
// by the caller.
func New(s *blobstore.Store, l *layers.Checker, o Options) *Images {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.MaxManifest = min(cmp.Or(o.MaxManifest, MaxManifestSize), MaxManifestSize)
	o.MaxDepth = min(cmp.Or(o.MaxDepth, MaxDepth), MaxDepth)
	im := &Images{
		store: s, records: s.Records(), links: s.Links(), bucket: s.Bucket(), clock: s.Clock(),
		checker: l, options: o, log: o.Logger,
		pointers: lru.New[string, storedPointer](pointerCache),
		catalogs: lru.New[reference.Repository, catalogEntry](catalogCache),
		fresh:    lru.New[digest.Digest, time.Time](freshCache),
	}
	s.OnPublish(func(p blobstore.Published) { im.fresh.Put(p.Digest, im.clock.Now(), 1) })
	return im
}

// MaxManifest is how many bytes a manifest may have that is pushed.
func (im *Images) MaxManifest() int64 { return im.options.MaxManifest }

// Where things are. No part of a repository's name begins with "_".
func manifestsPrefix(repo reference.Repository) string {
	return "repos/" + string(repo) + "/_manifests/"
}
func tagsPrefix(repo reference.Repository) string { return "repos/" + string(repo) + "/_tags/" }

// ManifestKey is the key of the link by which a repository has a manifest.
func ManifestKey(repo reference.Repository, d digest.Digest) string {
	return manifestsPrefix(repo) + string(d)
}

func tagKey(repo reference.Repository, tag reference.Tag) string {
	return tagsPrefix(repo) + string(tag)
}

func referrersPrefix(repo reference.Repository, subject digest.Digest) string {
	return "repos/" + string(repo) + "/_referrers/" + string(subject) + "/"
}

func fail(class error, subject any, format string, args ...any) *blobstore.Error {
	return &blobstore.Error{Class: class, Subject: fmt.Sprint(subject), Detail: fmt.Sprintf(format, args...)}
}

func remedy(e *blobstore.Error, s string) *blobstore.Error {
	e.Remedy = s
	return e
}

// absent reports whether err says that something is not in the bucket.
func absent(err error) bool { return errors.Is(err, bucket.ErrNotExist) }
