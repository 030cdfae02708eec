package fleet

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/blobstore/record"
)

// A Registration is what a collector needs to know of a snapshot.
type Registration struct {
	ID string
	// Gone says that it has been deleted, at Since; zero when that is not known.
	Gone        bool
	Since       time.Time
	Image, Diff images.Descriptor
}

// Registered yields all snapshots, deleted ones too, in the order of their ids:
// a call to the bucket for each. After an error the sequence ends.
// Errors: bucket.ErrUnavailable, record.ErrInvalid.
func (f *Fleet) Registered(ctx context.Context) iter.Seq2[Registration, error] {
	seen := readahead.Map(ctx, f.bucket.List(ctx, snapshotsPrefix, ""), func(ctx context.Context, info bucket.Info) (Registration, error) {
		r, _, err := record.Read[snapshotRecord](ctx, f.records, info.Key)
		if absent(err) {
			return Registration{}, nil
		}
		return Registration{
			ID: strings.TrimPrefix(info.Key, snapshotsPrefix), Gone: r.Gone, Since: r.DeletedAt,
			Image: images.Descriptor(r.Image), Diff: images.Descriptor(r.Diff),
		}, err
	})
	return func(yield func(Registration, error) bool) {
		for r, err := range seen {
			if err == nil && r.ID == "" { // removed since it was listed
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// SweepSnapshot removes the tombstone of a snapshot that was deleted before that
// time, where the bucket allows it (record.Store.CanForget). With dry it only
// says so. Errors: bucket.ErrUnavailable.
func (f *Fleet) SweepSnapshot(ctx context.Context, id string, before time.Time, dry bool) (blobstore.Step, error) {
	key := snapshotsPrefix + id
	r, v, err := record.Read[snapshotRecord](ctx, f.records, key)
	switch {
	case absent(err):
		return blobstore.Kept, nil
	case err != nil:
		return blobstore.Kept, err
	case !r.Gone || r.DeletedAt.IsZero() || !r.DeletedAt.Before(before) || !f.records.CanForget():
		return blobstore.Kept, nil
	}
	done := true
	if !dry {
		done, err = record.DeleteIf(ctx, f.records, key, v)
	}
	if !done || err != nil {
		return blobstore.Kept, err
	}
	return blobstore.Removed, nil
}

// SweepNode removes a node that has not reported since before that time. Where
// the bucket does not delete conditionally its record stays, as one that is gone.
// With dry it only says so. Errors: bucket.ErrUnavailable.
func (f *Fleet) SweepNode(ctx context.Context, id string, before time.Time, dry bool) (blobstore.Step, error) {
	key := nodesPrefix + id
	for {
		r, v, err := record.Read[nodeRecord](ctx, f.records, key)
		switch {
		case absent(err):
			return blobstore.Kept, nil
		case err != nil:
			return blobstore.Kept, err
		case r.Gone || !r.ReportedAt.Before(before):
			return blobstore.Kept, nil
		case dry:
			return blobstore.Removed, nil
		}
		done := false
		if _, ok := f.bucket.(bucket.ConditionalDeleter); ok {
			done, err = record.DeleteIf(ctx, f.records, key, v)
		} else {
			_, _, done, err = record.Swap(ctx, f.records, key, v, &nodeRecord{Gone: true, ReportedAt: r.ReportedAt}, time.Time{})
		}
		if err != nil {
			return blobstore.Kept, err
		}
		if done {
			return blobstore.Removed, nil
		}
	}
}
