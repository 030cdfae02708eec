package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

var (
	noon   = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	before = func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(-d)) }
	after  = func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(d)) }
)

// Reports as servers send them, of a cycle with everything in it.
func fullReport() *pb.CollectionReport {
	return &pb.CollectionReport{
		BeganAt: before(3 * time.Minute), EndedAt: before(time.Minute), Full: true, Holder: "server-1",
		Named: 400, Manifests: 12, Marked: 90, Listed: 100, Condemned: 1, Collected: 2, Revived: 1,
		FreedObjects: 3, FreedBytes: 120_000_000, WaitingBytes: 5_000_000_000, WaitingUntil: after(97 * time.Hour),
		Uploads: 2, Links: 3, Records: 1, Orphans: 1, Nodes: 1, TagsRemoved: 4, ManifestsRemoved: 1,
		Problems: []*pb.MaintenanceProblem{
			{Repository: "demo/app", Subject: digestOf("m"), Detail: "it names a layer that is gone: push it again"},
			{Repository: "demo/app", Subject: "latest", Detail: "the tag names what is not there"},
		},
		ProblemsTotal: 1002,
	}
}

func digestOf(s string) string { return "sha256:" + strings.Repeat(fmt.Sprintf("%02x", s[0]), 32) }

func findings() []*pb.CollectionFinding {
	return []*pb.CollectionFinding{
		{Kind: "blob", Subject: digestOf("a"), Step: "free", Why: "nothing has named it since it was collected", Bytes: 100_000_000},
		{Kind: "blob", Subject: digestOf("b"), Step: "condemn", Why: "nothing names it", Bytes: 20_000_000, NextAt: after(10 * time.Minute)},
		{Kind: "upload", Subject: "01KB7X", Repository: "demo/app", Step: "free", Why: "it was given up", Bytes: 1000, NextAt: before(time.Minute)},
		{Kind: "tag", Subject: "v1", Repository: "demo/app", Step: "remove", Why: "rule 1 keeps 10 tags"},
		{Kind: "manifest", Subject: digestOf("c"), Repository: "demo/app", Step: "remove", Why: "untagged \x1b[31mfor 30 days"},
	}
}

func TestWhatACollectionShows(t *testing.T) {
	show := func(r *pb.CollectionReport, found []*pb.CollectionFinding, more int64) string {
		t.Helper()
		var out strings.Builder
		if err := showCollection(&out, r, found, more, noon); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	text := "# everything\n" + show(fullReport(), findings(), 7)
	dry := fullReport()
	dry.DryRun, dry.Problems, dry.ProblemsTotal, dry.Holder = true, nil, 0, ""
	text += "\n# dry run\n" + show(dry, nil, 0)
	failed := &pb.CollectionReport{BeganAt: before(time.Second), EndedAt: before(time.Second), Error: "bucket does not answer"}
	text += "\n# failed\n" + show(failed, nil, 0)
	none := &pb.CollectionReport{BeganAt: before(time.Second), EndedAt: before(time.Second), Manifests: 1, Marked: 3, Listed: 3}
	text += "\n# nothing to do\n" + show(none, nil, 0)
	golden(t, "gc-show", text)
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1 second", 90*time.Second + 1: "91 seconds", 10 * time.Minute: "10 minutes", 119*time.Minute + 1: "120 minutes",
		47*time.Hour + 1: "48 hours", 72 * time.Hour: "3 days", 72*time.Hour + 1: "4 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// However much is found, what is kept of it is bounded, and is the largest.
func TestTheLargestAreKept(t *testing.T) {
	l := newLargest(3, findingOrder)
	for n := range 100 {
		l.add(&pb.CollectionFinding{Kind: "blob", Subject: fmt.Sprint(n), Bytes: int64(n * 37 % 100)})
	}
	var got []int64
	for _, f := range l.sorted() {
		got = append(got, f.Bytes)
	}
	if fmt.Sprint(got) != "[99 98 97]" || l.more() != 97 || len(l.kept) != 3 {
		t.Errorf("%v, and %d more", got, l.more())
	}
}
