package layers

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/record"
)

// Prefix is what the keys of layers' records begin with; realm, algorithm, two
// digits and the diffID follow.
const Prefix = "layers/"

// A Recorded is what is on record of a layer.
type Recorded struct {
	DiffID digest.Digest
	Size   int64 // of the tar in bytes
	// Blobs are those whose tar it is, and how many bytes each has.
	Blobs map[digest.Digest]int64
}

// Look returns the record of a layer by its key.
// Errors: bucket.ErrNotExist, record.ErrInvalid, bucket.ErrUnavailable.
func Look(ctx context.Context, records *record.Store, key string) (Recorded, error) {
	r, _, err := record.Read[layerRecord](ctx, records, key)
	l := Recorded{DiffID: r.DiffID, Size: r.Size, Blobs: make(map[digest.Digest]int64, len(r.Blobs))}
	for d, b := range r.Blobs {
		l.Blobs[d] = b.Size
	}
	return l, err
}
