package main

import (
	"time"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

type repositoryUsageJSON struct {
	Repository  string     `json:"repository"`
	Tags        int64      `json:"tags"`
	Manifests   int64      `json:"manifests"`
	NamedBytes  int64      `json:"namedBytes"`
	StoredBytes int64      `json:"storedBytes"`
	OwnBytes    int64      `json:"ownBytes"`
	Oldest      *time.Time `json:"oldest,omitempty"`
}

type imageUsageJSON struct {
	Repository string     `json:"repository"`
	Digest     string     `json:"digest"`
	Size       int64      `json:"size"`
	Pushed     *time.Time `json:"pushed,omitempty"`
}

type sharedJSON struct {
	Digest       string   `json:"digest"`
	Size         int64    `json:"size"`
	Images       int64    `json:"images"`
	Repositories []string `json:"repositories"`
}

func usageJSON(u *pb.UsageGetResponse) any {
	v := struct {
		Counted        *time.Time            `json:"counted,omitempty"`
		NamedBytes     int64                 `json:"namedBytes"`
		StoredBytes    int64                 `json:"storedBytes"`
		SavedBytes     int64                 `json:"savedBytes"`
		UnnamedBytes   int64                 `json:"unnamedBytes"`
		HeldBytes      int64                 `json:"heldBytes"`
		CondemnedBytes int64                 `json:"condemnedBytes"`
		DrainingBytes  int64                 `json:"drainingBytes"`
		Blobs          int64                 `json:"blobs"`
		Manifests      int64                 `json:"manifests"`
		Repositories   []repositoryUsageJSON `json:"repositories"`
		Shared         []sharedJSON          `json:"shared"`
		LargestBlobs   []sharedJSON          `json:"largestBlobs"`
		LargestImages  []imageUsageJSON      `json:"largestImages"`
		OldestImages   []imageUsageJSON      `json:"oldestImages"`
	}{
		timestamp(u.CountedAt), u.NamedBytes, u.StoredBytes, max(u.NamedBytes-u.StoredBytes, 0), u.UnnamedBytes,
		u.HeldBytes, u.CondemnedBytes, u.DrainingBytes, u.Blobs, u.Manifests,
		[]repositoryUsageJSON{}, sharedBlobs(u.Shared), sharedBlobs(u.LargestBlobs), imageUsages(u.LargestImages), imageUsages(u.OldestImages),
	}
	for _, r := range u.Repositories {
		v.Repositories = append(v.Repositories, repositoryUsageJSON{
			r.Repository, r.Tags, r.Manifests, r.NamedBytes, r.StoredBytes, r.OwnBytes, timestamp(r.OldestAt),
		})
	}
	return v
}

func sharedBlobs(list []*pb.SharedBlob) []sharedJSON {
	out := []sharedJSON{}
	for _, s := range list {
		out = append(out, sharedJSON{s.Digest, s.Size, s.Images, append([]string{}, s.Repositories...)})
	}
	return out
}

func imageUsages(list []*pb.ImageUsage) []imageUsageJSON {
	out := []imageUsageJSON{}
	for _, i := range list {
		out = append(out, imageUsageJSON{i.Repository, i.Digest, i.Size, timestamp(i.PushedAt)})
	}
	return out
}
