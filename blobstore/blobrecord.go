package blobstore

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// MaxInline is the largest blob in bytes that is kept inside its record, so
// that reading it is one call to the bucket instead of two.
const MaxInline = 64 << 10

// A state of a blob's record. A blob goes from live to condemned to gone, each
// step by a collector's compare-and-swap, and comes back to live from condemned
// by any answer and from gone by an upload.
type state string

const (
	live      state = "live"
	condemned state = "condemned" // readable, and revived by any answer
	collected state = "gone"      // a tombstone: not there
)

// blobRecord is what blobs/<alg>/<hh>/<hex> holds.
type blobRecord struct {
	record.Header
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	State  state         `json:"state"`
	// Life is random, and new each time the blob comes to be, also where it was
	// before. A repository's link to the blob counts only for the life it was
	// made for: what one tenant had, and what was collected since, is not opened
	// again by another's upload of the same bytes (design 4.8). Records from
	// before there were lives have none.
	Life string `json:"life,omitempty"`
	// Promise is until when the blob must stay readable.
	Promise time.Time `json:"promise"`
	// Condemned and Gone are when the record took that state.
	Condemned time.Time `json:"condemned,omitzero"`
	Gone      time.Time `json:"gone,omitzero"`
	// The bytes are Inline, or each of Copies has them.
	Inline []byte   `json:"inline,omitempty"`
	Copies []dataID `json:"copies,omitempty"`
	// Bad copies did not match the digest: never served, kept for whoever wants
	// to see what happened.
	Bad []dataID `json:"bad,omitempty"`
	// Barred data is being deleted as an orphan, or has been, and must not be
	// published: the last maxBarred.
	Barred []dataID `json:"barred,omitempty"`
	// Drop is data of an earlier life, which is deleted when DropAfter has
	// passed, whatever the state is then.
	Drop      []dataID  `json:"drop,omitempty"`
	DropAfter time.Time `json:"dropAfter,omitzero"`
	Verdict   *Verdict  `json:"verdict,omitempty"`
	// Origins are some repositories that the blob was uploaded to, the latest
	// last. They may hold it no longer: see MountFromAny.
	Origins []reference.Repository `json:"origins,omitempty"`
}

// A dataID is the ULID of a data object.
type dataID = string

// A Verdict says what is wrong with a blob as a layer. A blob without a
// verdict has not been looked at as a layer, or is what its image says.
type Verdict struct {
	// DiffID is the digest of the uncompressed tar, if it is one.
	DiffID digest.Digest `json:"diffID,omitempty"`
	// Problem says why it is no layer, for people; empty when DiffID is set.
	Problem string `json:"problem,omitempty"`
}

// maxBarred bounds the barred data that a record names. What makes a bar hold
// is that the record has changed: a publisher's write that is under way fails
// then, and before it writes anything else it looks at its clock. So those
// barred long ago need not be named.
const maxBarred = 32

// names says whether the record names the data, as its own or to be deleted.
func (r *blobRecord) names(id dataID) bool {
	return slices.Contains(r.Copies, id) || slices.Contains(r.Bad, id) || slices.Contains(r.Drop, id)
}

// stored is how many bytes the record and what it names take, supposing that
// each data object has the blob's size.
func (r *blobRecord) stored() int64 {
	return int64(len(r.Inline)) + r.Size*int64(len(r.Copies)+len(r.Bad)+len(r.Drop))
}

// readable says whether the record has a copy to read from.
func (r *blobRecord) readable() bool {
	return r.State != collected && (len(r.Copies) > 0 || r.Inline != nil || r.Size == 0)
}

// promise makes the record live and promised until t.
func (r *blobRecord) promise(t time.Time) {
	r.State, r.Promise, r.Condemned, r.Gone = live, t.UTC(), time.Time{}, time.Time{}
}

// sound checks what must be true of every record at every change.
func (r *blobRecord) sound(d digest.Digest) error {
	if r.Digest != d {
		return fail(ErrCorrupt, d, "its record is of %s", r.Digest)
	}
	if r.Inline != nil && (int64(len(r.Inline)) != r.Size || d.Algorithm().FromBytes(r.Inline) != d) {
		return fail(ErrCorrupt, d, "the bytes in its record do not match").remedy("push it again")
	}
	return nil
}
