package verify

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// A Kind says what is wrong.
type Kind string

const (
	// Damaged: a copy's bytes are not what the digest says, or too many or too
	// few. It is quarantined. When the blob has another copy, it can still be read.
	Damaged Kind = "damaged"
	// Lost: a record names data that is not there, or nothing that can be read.
	Lost Kind = "lost"
	// Unreadable: a record or a manifest that is none.
	Unreadable Kind = "unreadable"
	// PartGone: an image names what is not there: its blob was collected, or has
	// no record.
	PartGone Kind = "part_gone"
	// Unlinked: a repository has an image, but may not read a blob of it.
	Unlinked Kind = "unlinked"
	// Condemned: the next collection may take what an image names.
	Condemned Kind = "condemned"
	// Dangling: a tag, a referrer or a snapshot that names an image which is not
	// there, and that nobody has deleted.
	Dangling Kind = "dangling"
	// Misfit: a layer's record that does not fit the blobs that it lists.
	Misfit Kind = "misfit"
	// Orphan: data without a record. Collection deletes it: not bad.
	Orphan Kind = "orphan"
)

// What was done about a finding.
const (
	Quarantined = "quarantined"
	Repaired    = "repaired"
)

// A Finding is something that is not as it should be.
type Finding struct {
	Kind    Kind
	Subject string // a digest, or a key of the bucket
	// Repository is set where the finding is in one: a link, a tag, a manifest.
	Repository reference.Repository
	Bytes      int64
	Problem    string // what is wrong, for people
	Done       string // Quarantined, Repaired, or empty for nothing
	Remedy     string // what to do, for people; empty when there is nothing to do
	// Images name it: at most MaxImages of ImagesTotal.
	Images      []Image
	ImagesTotal int64
}

// An Image is one that something bad is in.
type Image struct {
	Repository reference.Repository
	Manifest   digest.Digest   // the one that the repository holds: perhaps an index
	Tags       []reference.Tag // at most MaxTags
}

// Limits of what a report lists; all are counted.
const (
	MaxFindings = 1000
	MaxImages   = 20
	MaxTags     = 20
)

// Bad says whether the finding makes a verification fail.
func (f *Finding) Bad() bool { return f.Kind != Orphan && f.Done != Repaired }

// A Report is what a run found.
type Report struct {
	Began, Ended time.Time // Ended is zero for one that was broken off
	Repositories []string
	Sample       float64
	Seed         uint64
	Repair       bool
	Resumed      bool // it went on where another was broken off

	Manifests int64 // looked at
	Blobs     int64 // whose records were looked at
	Read      int64 // blobs whose bytes were
	Bytes     int64 // of data read
	// Flips counts reads that were bad, and not when they were repeated: the
	// network or memory is not to be trusted.
	Flips int64

	// How many findings there are of each kind; PartsGone counts Unlinked,
	// Condemned, Dangling and Misfit too.
	Damaged, Lost, Unreadable, PartsGone int64
	// Orphans counts data without a record, which collection deletes, and
	// OrphanBytes its bytes. Waiting counts those that are younger than what
	// collection takes: uploads that go on are among them.
	Orphans, OrphanBytes, Waiting int64
	Repaired                      int64
	// Bad counts the findings that are neither repaired nor orphans. The store
	// is as it should be when it is 0.
	Bad int64
	// Findings are the first MaxFindings.
	Findings []Finding
}
