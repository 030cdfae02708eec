package blobstore

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// A Step is what a sweep did with a record, or would do.
type Step string

const (
	Kept      Step = "keep"    // its time has not come, or something needs it
	Condemned Step = "condemn" // live → condemned: readable, and revived by any answer
	Collected Step = "collect" // condemned → gone: a tombstone, with its data still there
	Draining  Step = "drain"   // gone, and its data waits for those who still read it
	Freed     Step = "free"    // its data was deleted
	Removed   Step = "remove"  // the tombstone was removed too
)

// A Judgement is what a sweep did with a blob's record, or would do.
type Judgement struct {
	Digest digest.Digest
	Size   int64 // bytes of the blob
	Step   Step
	// Gone says that the record is a tombstone now, or with dry would be: the
	// blob cannot be read any more. Also with Kept, when its time has not come.
	Gone bool
	Why  string
	// Next is when the next step can be taken at the earliest; zero when there
	// is none, or nobody can say.
	Next time.Time
	// Freed are the bytes that the step gave back, or would.
	Freed int64
	// Waiting are the bytes that later steps will give back.
	Waiting int64
}

// The states of an upload's record, for a sweep.
const (
	UploadOpen    = "open"    // it may still be finished: nothing is touched
	UploadExpired = "expired" // it was given up, and its data may still be published by whoever is slow
	UploadOrphan  = "orphan"  // its data is old enough to be deleted
	UploadEnded   = "ended"   // the record is gone, and all that it named is some blob's or gone
)

// An UploadJudgement is what a sweep did with an upload's record, or would do.
type UploadJudgement struct {
	ID         string
	Repository string
	State      string
	Why        string
	Next       time.Time // when there will be more to do; zero: never
	Freed      int64     // bytes
	Waiting    int64     // bytes that later sweeps will free
}

// A DataJudgement is what a sweep did with a data object that no record was
// known to name, or would do.
type DataJudgement struct {
	ID     string
	Digest digest.Digest // of the blob whose record names or bars it, if any
	// Step is Kept, Draining (it waits until it is old enough) or Freed.
	Step    Step
	Why     string
	Next    time.Time
	Freed   int64 // bytes
	Waiting int64 // bytes
}
