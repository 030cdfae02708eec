package usage

import (
	"time"

	"github.com/laminastore/lamina/reference"
	"github.com/opencontainers/go-digest"
)

// Usage is what a count found. Sizes are bytes as pushed.
type Usage struct {
	CountedAt time.Time
	// Named is the sum over all images of all repositories of the bytes they
	// name: what storing each by itself would take.
	Named int64
	// Stored is the size of the distinct blobs that images name.
	Stored int64
	// Held is the size of those that no image of a repository names, but one that
	// a registered snapshot or a node in use names.
	Held int64
	// Unnamed is the size of the blobs that nothing names, yet or any more, and
	// that can be read; Condemned is what of that goes with a coming collection
	// if nobody asks for it until then.
	Unnamed   int64
	Condemned int64
	// Draining is the size of what was collected and is still on its disk.
	Draining  int64
	Blobs     int64 // that can be read: with the unnamed ones, and manifests
	Manifests int64 // distinct ones, of repositories
	// Repositories are ordered by name, at most MaxRepositories: those with
	// the most named bytes.
	Repositories []Repository
	// Shared are the blobs that more than one image of a realm names, those that
	// save most first, at most MaxShared. One that two realms share among
	// themselves is there for each of them.
	Shared []Shared
	// LargestBlobs are the largest that images name, as in Shared; Largest the
	// manifests, no indexes, that name most bytes, each for the first of its
	// repositories by name; Oldest those that were pushed first. At most
	// MaxLargest each.
	LargestBlobs []Shared
	Largest      []Image
	Oldest       []Image
}

// Limits of what a count keeps in detail.
const (
	MaxRepositories       = 5_000
	MaxShared             = 100
	MaxSharedRepositories = 20
	MaxLargest            = 20
)

// A Repository is the part of one repository.
type Repository struct {
	Name      reference.Repository
	Tags      int64
	Manifests int64
	Named     int64
	Stored    int64
	Own       int64 // of Stored, what no other repository of its realm names
	// Oldest is when the first of its manifests was pushed; zero without any.
	Oldest time.Time
}

// An Image is a manifest in a repository.
type Image struct {
	Repository reference.Repository
	Digest     digest.Digest
	// Size is that of the distinct blobs that it names and of itself; of an
	// index, only of itself.
	Size   int64
	Pushed time.Time
}

// A Shared blob is named by images of a realm.
type Shared struct {
	Digest digest.Digest
	Size   int64
	Images int64 // manifests that name it, in the repositories of the realm
	// Repositories of the realm in which they are, ordered, at most MaxSharedRepositories.
	Repositories []reference.Repository
}
