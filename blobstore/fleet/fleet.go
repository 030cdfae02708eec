// Package fleet knows what runs where, and which diffs were registered.
//
// A node's record (nodes/<id>) is replaced with each of its reports. A node that
// is silent is shown with the time of its last word, and what it ran is kept from
// collection for SilentAfter; then a collector removes it.
// A snapshot's record (snapshots/<ULID>) is written once, and becomes a
// tombstone when it is deleted.
package fleet

import (
	"errors"
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/record"
)

// Fleet keeps the records of nodes and snapshots. Safe for concurrent use.
type Fleet struct {
	bucket  bucket.Bucket
	records *record.Store
	clock   blobstore.Clock
	images  *images.Images

	publishWithin time.Duration // the store's
}

// New returns a Fleet over s. It holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images) *Fleet {
	return &Fleet{bucket: s.Bucket(), records: s.Records(), clock: s.Clock(), images: im, publishWithin: s.Options().PublishWithin}
}

func fail(class error, subject any, format string, args ...any) *blobstore.Error {
	return &blobstore.Error{Class: class, Subject: fmt.Sprint(subject), Detail: fmt.Sprintf(format, args...)}
}

func remedy(e *blobstore.Error, s string) *blobstore.Error {
	e.Remedy = s
	return e
}

func absent(err error) bool { return errors.Is(err, bucket.ErrNotExist) }
