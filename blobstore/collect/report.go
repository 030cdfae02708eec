package collect

import (
	"time"

	"github.com/laminastore/lamina/blobstore"
)

// Phases of a cycle, in their order.
const (
	PhaseRetention = "retention"
	PhaseMark      = "mark"
	PhaseSweep     = "sweep"
	PhaseUploads   = "uploads"
	PhaseLinks     = "links"
	PhaseRecords   = "records"
	PhaseData      = "data"
)

// Progress says how far a cycle is.
type Progress struct {
	Phase string
	// Done of Total things have been looked at in this phase. Total is what the
	// last cycle found, or 0 when nothing is known.
	Done, Total int64
	Bytes       int64 // freed so far, in the whole cycle
}

// Kinds of findings.
const (
	KindBlob     = "blob"
	KindUpload   = "upload"
	KindData     = "data"
	KindLink     = "link"
	KindNode     = "node"
	KindSnapshot = "snapshot"
	KindLayer    = "layer"
	KindTag      = "tag"
	KindManifest = "manifest"
	KindReferrer = "referrer"
)

// A Finding is one thing for which a step was taken, or would be. What is kept
// is none.
type Finding struct {
	Kind       string
	Subject    string // a digest, an id, a tag
	Repository string // empty where it is in none, or in several
	Step       blobstore.Step
	Why        string
	Bytes      int64 // freed by the step, or else what will be
	Next       time.Time
}

// A Problem is something that is not as it should be, and that a cycle has gone
// on from.
type Problem struct {
	Subject    string `json:"subject"`
	Repository string `json:"repository,omitempty"`
	Detail     string `json:"detail"` // what is wrong, and what to do
}

// MaxProblems is how many problems a report lists.
const MaxProblems = 1000

// A Report is what a cycle did, or would have done.
type Report struct {
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
	DryRun bool      `json:"dryRun,omitempty"`
	Full   bool      `json:"full,omitempty"`
	Holder string    `json:"holder,omitempty"`

	Named     int64 `json:"named"`     // names in repositories that were listed
	Manifests int64 `json:"manifests"` // distinct ones that the mark read
	Marked    int64 `json:"marked"`    // distinct digests that it reached
	Listed    int64 `json:"listed"`    // blobs in the store, those that are gone included
	Condemned int64 `json:"condemned"` // live → condemned
	Collected int64 `json:"collected"` // condemned → gone
	Revived   int64 `json:"revived"`   // condemned → live

	FreedObjects int64     `json:"freedObjects"` // whose bytes, or some of them, were given back
	FreedBytes   int64     `json:"freedBytes"`
	WaitingBytes int64     `json:"waitingBytes"` // that later cycles will free
	WaitingUntil time.Time `json:"waitingUntil,omitzero"`

	UploadsListed int64 `json:"uploadsListed"` // records of uploads

	Uploads int64 `json:"uploads"` // whose records went
	Links   int64 `json:"links"`   // to blobs that are gone
	Records int64 `json:"records"` // tombstones and other records that are over
	Orphans int64 `json:"orphans"` // data that no record named
	Nodes   int64 `json:"nodes"`   // that have been silent

	TagsRemoved      int64 `json:"tagsRemoved"` // by retention
	ManifestsRemoved int64 `json:"manifestsRemoved"`

	Problems      []Problem `json:"problems,omitempty"` // at most MaxProblems
	ProblemsTotal int64     `json:"problemsTotal"`
	// Error is why the cycle did not come to its end; empty when it did.
	Error string `json:"error,omitempty"`
	// Succeeded is when the last cycle ended that did come to its end, this one or
	// one before it; zero when there was none.
	Succeeded time.Time `json:"succeeded,omitzero"`
}
