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
	// Unnamed is the size of the blobs that no image names, yet or any more.
	Unnamed   int64
	Blobs     int64 // with the unnamed ones, and manifests
	Manifests int64 // distinct ones
	// Repositories are ordered by name, at most MaxRepositories: those with
	// the most named bytes.
	Repositories []Repository
	// Shared are the blobs that more than one image of a realm names, those that
	// save most first, at most MaxShared. One that two realms share among
	// themselves is there for each of them.
	Shared []Shared
}

// Limits of what a count keeps in detail.
const (
	MaxRepositories       = 5_000
	MaxShared             = 100
	MaxSharedRepositories = 20
)

// A Repository is the part of one repository.
type Repository struct {
	Name      reference.Repository
	Tags      int64
	Manifests int64
	Named     int64
	Stored    int64
	Own       int64 // of Stored, what no other repository of its realm names
}

// A Shared blob is named by more than one image of a realm.
type Shared struct {
	Digest digest.Digest
	Size   int64
	Images int64 // manifests that name it, in the repositories of the realm
	// Repositories of the realm in which they are, ordered, at most MaxSharedRepositories.
	Repositories []reference.Repository
}
