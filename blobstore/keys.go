package blobstore

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// What keys begin with.
const (
	DataPrefix   = "data/"    // data objects; the id follows
	BlobPrefix   = "blobs/"   // blobs' records
	UploadPrefix = "uploads/" // uploads' records; the id follows
)

// BlobKey is the key of a blob's record.
func BlobKey(d digest.Digest) string {
	hex := d.Encoded()
	return BlobPrefix + d.Algorithm().String() + "/" + hex[:2] + "/" + hex
}

// BlobLinkKey is the key of the link by which a repository holds a blob.
func BlobLinkKey(repo reference.Repository, d digest.Digest) string {
	return "repos/" + string(repo) + "/_blobs/" + string(d)
}

func dataKey(id string) string   { return DataPrefix + id }
func uploadKey(id string) string { return UploadPrefix + id }

// IDTime is when the data object or upload of that id was begun. It is in the id.
func IDTime(id string) (time.Time, error) { return idTime(id) }

// idTime is the time in a ULID.
func idTime(id string) (time.Time, error) {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}, fmt.Errorf("id %.40q: %w", id, err)
	}
	return ulid.Time(u.Time()), nil
}
