package blobstore_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// A tester is a testing.TB or a rapid.T.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// orphanAge is more than the age at which all is nobody's that no record names.
const orphanAge = (24 + 72 + 24 + 1) * time.Hour

func keys(t tester, b bucket.Bucket, prefix string) (keys []string) {
	t.Helper()
	for info, err := range b.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, strings.TrimPrefix(info.Key, prefix))
	}
	return keys
}

func sweepUploads(t tester, s *blobstore.Store, dry bool) (all []blobstore.UploadJudgement) {
	t.Helper()
	for id, err := range s.UploadIDs(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		j, err := s.SweepUpload(context.Background(), id, dry)
		if err != nil {
			t.Fatalf("sweep upload %s: %v", id, err)
		}
		all = append(all, j)
	}
	return all
}

// nothingLeft lets all uploads become old, and fails the test unless a sweep of
// them, which does not list the data, leaves nothing but the data of the blobs
// given, and these as they were.
func nothingLeft(t tester, b bucket.Bucket, c *clock, blobs ...digest.Digest) {
	t.Helper()
	ctx := context.Background()
	s := blobstore.New(b, exact(c))
	defer s.Close(ctx)
	want := map[digest.Digest]blobstore.BlobInfo{}
	for _, d := range blobs {
		info, err := s.Describe(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		want[d] = info
	}
	led := map[string]bool{}
	for _, id := range keys(t, b, "uploads/") {
		names, err := s.UploadData(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range names {
			led[id] = true
		}
	}
	for _, info := range want {
		for _, id := range info.Named() {
			led[id] = true
		}
	}
	for _, id := range keys(t, b, "data/") {
		if !led[id] {
			t.Fatalf("no record leads to data %s", id)
		}
	}
	c.Turn(orphanAge)
	sweepUploads(t, s, false)
	if left := keys(t, b, "uploads/"); len(left) > 0 {
		j, err := s.SweepUpload(ctx, left[0], true)
		t.Fatalf("uploads left behind: %q: %+v, %v", left, j, err)
	}
	var named []string
	for d, before := range want {
		info, err := s.Describe(ctx, d)
		if err != nil || info.State != before.State || !slices.Equal(info.Copies, before.Copies) {
			t.Fatalf("%s was %+v, and is %+v, %v", d, before, info, err)
		}
		named = append(named, info.Named()...)
	}
	slices.Sort(named)
	if have := keys(t, b, "data/"); !slices.Equal(have, named) {
		t.Fatalf("data is %q, and the blobs have %q", have, named)
	}
}
