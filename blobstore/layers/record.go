package layers

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/record"
)

// realm is the only one there is until realms are configured.
const realm = "default"

// plainForm is the form of a layer that is only there as a blob.
const plainForm = "plain"

// maxBlobs is how many blobs the record of a layer lists. One tar can be
// compressed in any number of ways; what does not fit gets a verdict instead.
const maxBlobs = 64

// layerRecord is what layers/<realm>/<alg>/<hh>/<diffID> holds.
type layerRecord struct {
	record.Header
	DiffID digest.Digest `json:"diffID"`
	Form   string        `json:"form"`
	Size   int64         `json:"size"` // of the tar in bytes
	// Blobs are those whose tar was seen to have the digest.
	Blobs map[digest.Digest]checkedBlob `json:"blobs"`
}

type checkedBlob struct {
	Size      int64     `json:"size"`
	MediaType string    `json:"mediaType,omitempty"`
	CheckedAt time.Time `json:"checkedAt"`
}

// Key is the key of a layer's record.
func Key(diffID digest.Digest) string {
	hex := diffID.Encoded()
	return "layers/" + realm + "/" + diffID.Algorithm().String() + "/" + hex[:2] + "/" + hex
}

// listed says whether the record of diffID lists the blob.
func (c *Checker) listed(ctx context.Context, blob, diffID digest.Digest) (bool, error) {
	r, _, err := record.Read[layerRecord](ctx, c.store.Records(), Key(diffID))
	if absent(err) {
		return false, nil
	}
	_, ok := r.Blobs[blob]
	return ok, err
}

// list puts the blob into the record of the layer it was found to be: one call,
// unless the record is there already.
func (c *Checker) list(ctx context.Context, blob digest.Digest, b checkedBlob, f finding) error {
	r := layerRecord{
		DiffID: f.diffID, Form: plainForm, Size: f.size,
		Blobs: map[digest.Digest]checkedBlob{blob: b},
	}
	var old record.Version
	for {
		now, at, done, err := record.Swap(ctx, c.store.Records(), Key(f.diffID), old, &r, time.Time{})
		if err != nil || done {
			return err
		}
		if at != (record.Version{}) {
			r = now
		}
		old = at
		if r.Blobs == nil {
			r.Blobs = map[digest.Digest]checkedBlob{}
		}
		if _, ok := r.Blobs[blob]; ok && at != (record.Version{}) {
			return nil
		}
		if len(r.Blobs) >= maxBlobs {
			return c.store.SetVerdict(ctx, blob, blobstore.Verdict{DiffID: f.diffID})
		}
		r.Blobs[blob] = b
	}
}
