package images

import (
	"context"
	"errors"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// What verification and collection need: records as they are, whether they count
// or not, and nothing from the caches.

// A Name is the record of a tag, or of a referrer under its subject.
type Name struct {
	Digest     digest.Digest // of the manifest
	Generation string        // of the manifest's link for which it was written
	Gone       bool          // it was removed
	Since      time.Time
}

// LookName returns the record of a tag or referrer by its key.
// Errors: bucket.ErrNotExist, record.ErrInvalid, bucket.ErrUnavailable.
func (im *Images) LookName(ctx context.Context, key string) (Name, error) {
	p, _, err := record.Read[pointer](ctx, im.records, key)
	return Name{Digest: p.Digest, Generation: p.Generation, Gone: p.Gone, Since: p.Since}, err
}

// TagKey is the key of the record of a tag.
func TagKey(repo reference.Repository, tag reference.Tag) string { return tagKey(repo, tag) }

// SummaryOf returns what the link of the manifest d says of it.
// Errors: record.ErrInvalid.
func SummaryOf(d digest.Digest, l link.Link) (Summary, error) { return summary(d, l) }

// BuryInvalidName makes what is at the key of a tag or referrer a tombstone if it
// is no record, so that the name can be written anew. It says whether it did.
// Errors: bucket.ErrUnavailable.
func (im *Images) BuryInvalidName(ctx context.Context, key string) (bool, error) {
	defer im.pointers.Remove(key)
	for {
		_, err := im.LookName(ctx, key)
		if err == nil || absent(err) {
			return false, nil
		}
		if !errors.Is(err, record.ErrInvalid) {
			return false, err
		}
		info, err := im.bucket.Stat(ctx, key)
		if absent(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		p := &pointer{Gone: true, Since: im.clock.Now().UTC()}
		_, err = record.Replace(ctx, im.records, key, record.Version{ETag: info.ETag}, p, time.Time{})
		if err == nil || !errors.Is(err, bucket.ErrPrecondition) {
			return err == nil, err
		}
	}
}
