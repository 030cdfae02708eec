package layers

import (
	"context"
	"errors"
	"strings"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

// A Swept is what Sweep did with the record of a layer, or would do.
type Swept struct {
	Step blobstore.Step // Kept or Removed
	Why  string
}

// Sweep removes the record of a layer, at a key, if its realm is none of those
// configured, or if all its blobs are gone. Removing it loses nothing but time:
// what it says is found out again when somebody asks. With dry it only says so.
// Errors: record.ErrInvalid, bucket.ErrUnavailable.
func Sweep(ctx context.Context, s *blobstore.Store, realms realm.Map, key string, dry bool) (Swept, error) {
	in, _, _ := strings.Cut(strings.TrimPrefix(key, Prefix), "/")
	r, v, err := record.Read[layerRecord](ctx, s.Records(), key)
	if absent(err) {
		return Swept{Step: blobstore.Kept}, nil
	}
	if err != nil {
		return Swept{Step: blobstore.Kept}, err
	}
	why := "no realm of this name is configured"
	if realms.Has(realm.Name(in)) {
		why = "all blobs of the layer are gone"
		for d := range r.Blobs {
			b, err := s.Describe(ctx, d)
			if errors.Is(err, blobstore.ErrBlobUnknown) || err == nil && b.State == "gone" {
				continue
			}
			return Swept{Step: blobstore.Kept}, err
		}
	}
	if dry {
		return Swept{blobstore.Removed, why}, nil
	}
	done := true
	if _, ok := s.Bucket().(bucket.ConditionalDeleter); ok {
		done, err = record.DeleteIf(ctx, s.Records(), key, v)
	} else {
		err = s.Bucket().Delete(ctx, key)
	}
	if err != nil || !done {
		return Swept{Step: blobstore.Kept}, err
	}
	return Swept{blobstore.Removed, why}, nil
}
