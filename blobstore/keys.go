package blobstore

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// BlobKey is the key of a blob's record.
func BlobKey(d digest.Digest) string {
	hex := d.Encoded()
	return "blobs/" + d.Algorithm().String() + "/" + hex[:2] + "/" + hex
}

// BlobLinkKey is the key of the link by which a repository holds a blob.
func BlobLinkKey(repo reference.Repository, d digest.Digest) string {
	return "repos/" + string(repo) + "/_blobs/" + string(d)
}

func dataKey(id string) string   { return "data/" + id }
func uploadKey(id string) string { return "uploads/" + id }

// idTime is the time in a ULID.
func idTime(id string) (time.Time, error) {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}, fmt.Errorf("id %.40q: %w", id, err)
	}
	return ulid.Time(u.Time()), nil
}
