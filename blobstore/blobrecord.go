package blobstore

import (
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
	// Barred data is being deleted as an orphan, and must not be published.
	Barred []dataID `json:"barred,omitempty"`
	// Drop lists the data that is deleted when Gone is long enough ago.
	Drop    []dataID `json:"drop,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
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
