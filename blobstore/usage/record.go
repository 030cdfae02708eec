package usage

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// usageRecord is what stats/usage holds.
type usageRecord struct {
	record.Header
	CountedAt    time.Time          `json:"countedAt"`
	Realms       digest.Digest      `json:"realms,omitempty"` // of the map by which it was counted
	Named        int64              `json:"named"`
	Stored       int64              `json:"stored"`
	Held         int64              `json:"held,omitempty"`
	Unnamed      int64              `json:"unnamed"`
	Condemned    int64              `json:"condemned,omitempty"`
	Draining     int64              `json:"draining,omitempty"`
	Blobs        int64              `json:"blobs"`
	Manifests    int64              `json:"manifests"`
	Repositories []repositoryRecord `json:"repositories,omitempty"`
	Shared       []sharedRecord     `json:"shared,omitempty"`
	LargestBlobs []sharedRecord     `json:"largestBlobs,omitempty"`
	Largest      []imageRecord      `json:"largest,omitempty"`
	Oldest       []imageRecord      `json:"oldest,omitempty"`
}

type repositoryRecord struct {
	Name      reference.Repository `json:"name"`
	Tags      int64                `json:"tags"`
	Manifests int64                `json:"manifests"`
	Named     int64                `json:"named"`
	Stored    int64                `json:"stored"`
	Own       int64                `json:"own"`
	Oldest    time.Time            `json:"oldest,omitzero"`
}

type imageRecord struct {
	Repository reference.Repository `json:"repository"`
	Digest     digest.Digest        `json:"digest"`
	Size       int64                `json:"size"`
	Pushed     time.Time            `json:"pushed,omitzero"`
}

type sharedRecord struct {
	Digest       digest.Digest          `json:"digest"`
	Size         int64                  `json:"size"`
	Images       int64                  `json:"images"`
	Repositories []reference.Repository `json:"repositories"`
}

// mapDigest names a map in a record; it is empty for the one with one realm.
func mapDigest(m realm.Map) digest.Digest {
	if s := m.String(); s != "" {
		return digest.FromString(s)
	}
	return ""
}

func recordOf(u Usage) *usageRecord {
	r := &usageRecord{
		CountedAt: u.CountedAt.UTC(), Named: u.Named, Stored: u.Stored, Held: u.Held, Unnamed: u.Unnamed,
		Condemned: u.Condemned, Draining: u.Draining, Blobs: u.Blobs, Manifests: u.Manifests,
	}
	for _, x := range u.Repositories {
		r.Repositories = append(r.Repositories, repositoryRecord(x))
	}
	for _, x := range u.Shared {
		r.Shared = append(r.Shared, sharedRecord(x))
	}
	for _, x := range u.LargestBlobs {
		r.LargestBlobs = append(r.LargestBlobs, sharedRecord(x))
	}
	for _, x := range u.Largest {
		r.Largest = append(r.Largest, imageRecord(x))
	}
	for _, x := range u.Oldest {
		r.Oldest = append(r.Oldest, imageRecord(x))
	}
	return r
}

func (r *usageRecord) usage() Usage {
	u := Usage{
		CountedAt: r.CountedAt, Named: r.Named, Stored: r.Stored, Held: r.Held, Unnamed: r.Unnamed,
		Condemned: r.Condemned, Draining: r.Draining, Blobs: r.Blobs, Manifests: r.Manifests,
	}
	for _, x := range r.Repositories {
		u.Repositories = append(u.Repositories, Repository(x))
	}
	for _, x := range r.Shared {
		u.Shared = append(u.Shared, Shared(x))
	}
	for _, x := range r.LargestBlobs {
		u.LargestBlobs = append(u.LargestBlobs, Shared(x))
	}
	for _, x := range r.Largest {
		u.Largest = append(u.Largest, Image(x))
	}
	for _, x := range r.Oldest {
		u.Oldest = append(u.Oldest, Image(x))
	}
	return u
}
