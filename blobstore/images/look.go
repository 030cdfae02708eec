package images

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
)

// What verification needs: records as they are, whether they count or not, and
// nothing from the caches.

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

// SummaryOf returns what the link of the manifest d says of it.
// Errors: record.ErrInvalid.
func SummaryOf(d digest.Digest, l link.Link) (Summary, error) { return summary(d, l) }
