package images

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// A pointer is the record of a name for a manifest: a tag, or the record of a
// referrer under its subject. It counts while the manifest's link is live and
// of the same generation.
type pointer struct {
	record.Header
	Digest     digest.Digest `json:"digest,omitempty"`
	Generation string        `json:"generation,omitempty"`
	// Gone is set in the tombstone of a name that was removed by itself; Digest
	// is then what it named.
	Gone  bool      `json:"gone,omitempty"`
	Since time.Time `json:"since"`
	// Former is what a tag named before, the latest first, at most maxFormer.
	Former []Former `json:"former,omitempty"`
	// Descriptor is what a list of referrers shows.
	Descriptor *ocispec.Descriptor `json:"descriptor,omitempty"`
}

// A Former is a manifest that a tag no longer names.
type Former struct {
	Digest digest.Digest `json:"digest"`
	Until  time.Time     `json:"until"`
}

// maxFormer bounds what a tag remembers.
const maxFormer = 8

// former is what a tag that takes the place of p at that time, and names d, has
// named before.
func (p *pointer) former(d digest.Digest, at time.Time) []Former {
	if p.Digest == "" || p.Digest == d {
		return p.Former
	}
	last := Former{p.Digest, at}
	if p.Gone {
		last.Until = p.Since
	}
	return append([]Former{last}, p.Former[:min(len(p.Former), maxFormer-1)]...)
}

// tombstone is what takes the place of p when the name is removed at that time.
func (p *pointer) tombstone(at time.Time) *pointer {
	return &pointer{Digest: p.Digest, Gone: true, Since: at, Former: p.Former}
}

// A storedPointer is a pointer with the version it was read or written at. The
// zero value stands for one that does not exist.
type storedPointer struct {
	pointer
	version record.Version
}

// readPointer asks the bucket. One that does not exist is no error.
func (im *Images) readPointer(ctx context.Context, key string) (storedPointer, error) {
	p, v, err := record.Read[pointer](ctx, im.records, key)
	if absent(err) {
		im.pointers.Remove(key)
		return storedPointer{}, nil
	}
	if err != nil {
		return storedPointer{}, err
	}
	return im.keepPointer(key, p, v), nil
}

func (im *Images) keepPointer(key string, p pointer, v record.Version) storedPointer {
	sp := storedPointer{p, v}
	w := int64(len(key) + 500 + 150*len(p.Former))
	if d := p.Descriptor; d != nil {
		for k, v := range d.Annotations {
			w += int64(len(k) + len(v) + 50)
		}
	}
	im.pointers.Put(key, sp, w)
	return sp
}

// swapPointer writes p over old, and returns what is there then. A new one has
// an end to its way: tombstones are removed some time, and then a write that was
// stopped before could bring back what was deleted.
func (im *Images) swapPointer(ctx context.Context, key string, old record.Version, p *pointer) (storedPointer, bool, error) {
	var notAfter time.Time
	if old == (record.Version{}) {
		notAfter = im.clock.Now().Add(im.store.Options().PublishWithin)
	}
	now, at, done, err := record.Swap(ctx, im.records, key, old, p, notAfter)
	if err != nil || at == (record.Version{}) {
		im.pointers.Remove(key)
		return storedPointer{}, false, err
	}
	return im.keepPointer(key, now, at), done, nil
}

// follow returns the link for which p was written, if it is live.
func (im *Images) follow(ctx context.Context, repo reference.Repository, p storedPointer) (link.Link, bool, error) {
	if p.Gone || p.Digest == "" {
		return link.Link{}, false, nil
	}
	key := ManifestKey(repo, p.Digest)
	l, err := im.links.Get(ctx, key)
	if err == nil && mutant.TagNoGeneration.On() {
		return l, true, nil
	}
	if err == nil && l.Generation != p.Generation {
		l, err = im.links.Fresh(ctx, key) // what was held may be older than p
	}
	if absent(err) {
		return link.Link{}, false, nil
	}
	return l, err == nil && l.Generation == p.Generation, err
}
