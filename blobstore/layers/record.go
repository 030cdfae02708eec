package layers

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

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

// Key is the key of a layer's record in a realm.
func Key(in realm.Name, diffID digest.Digest) string {
	hex := diffID.Encoded()
	return "layers/" + string(in) + "/" + diffID.Algorithm().String() + "/" + hex[:2] + "/" + hex
}

// listed says whether the record of the claim's diffID in its realm lists the
// blob, and whether it lists as many as it may.
func (c *Checker) listed(ctx context.Context, key claim) (in, full bool, err error) {
	r, _, err := record.Read[layerRecord](ctx, c.store.Records(), Key(key.realm, key.diffID))
	if absent(err) {
		return false, false, nil
	}
	_, in = r.Blobs[key.blob]
	return in, len(r.Blobs) >= maxBlobs, err
}

// list puts the blob into the record, in a realm, of the layer it was found to
// be: one call, unless the record is there already.
func (c *Checker) list(ctx context.Context, in realm.Name, blob digest.Digest, b checkedBlob, f finding) error {
	r := layerRecord{
		DiffID: f.diffID, Form: plainForm, Size: f.size,
		Blobs: map[digest.Digest]checkedBlob{blob: b},
	}
	var old record.Version
	for {
		now, at, done, err := record.Swap(ctx, c.store.Records(), Key(in, f.diffID), old, &r, time.Time{})
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
