package main

import (
	"strings"
	"testing"
	"time"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func badFindings() []*pb.VerificationFinding {
	return []*pb.VerificationFinding{
		{
			Kind: "damaged", Subject: digestOf("a"), Bytes: 100_000_000, Problem: "1 of 1 copies has another digest", Done: "quarantined",
			Remedy: "push the image again, or repair it from another registry (--from)",
			Images: []*pb.AffectedImage{
				{Repository: "demo/app", Tags: []string{"1", "stable"}, Manifest: digestOf("m")},
				{Repository: "team/copy", Manifest: digestOf("m")},
			}, ImagesTotal: 25,
		},
		{Kind: "lost", Subject: digestOf("b"), Bytes: 10, Problem: "data is not there", Done: "repaired", Remedy: "nothing"},
		{Kind: "orphan", Subject: "data/01KB7X", Bytes: 5000, Problem: "no record names it"},
		{Kind: "dangling", Repository: "demo/app", Subject: "repos/demo/app/_tags/1", Problem: "names nothing"},
	}
}

func TestWhatAVerificationShows(t *testing.T) {
	show := func(v *verification) string {
		t.Helper()
		var out strings.Builder
		v.out = &out
		text := ""
		if err := v.show(noon); err != nil {
			text = "lamina: " + err.Error() + "\n"
		}
		return out.String() + text
	}
	bad := &verification{findings: badFindings(), more: 3, report: &pb.VerificationReport{
		BeganAt: before(2 * time.Hour), EndedAt: before(time.Hour), Repositories: []string{"demo/**"}, Sample: 0.05, Seed: 7, Resumed: true,
		Manifests: 12, Blobs: 100, BlobsRead: 5, Bytes: 2_000_000_000, Flips: 1, Damaged: 1, Lost: 1, PartsGone: 1, Orphans: 1, OrphanBytes: 5000,
		Repaired: 1, Bad: 2,
	}}
	text := "# bad\n" + show(bad)
	good := &verification{report: &pb.VerificationReport{BeganAt: before(time.Second), EndedAt: before(time.Second), Manifests: 1, Blobs: 3, BlobsRead: 3, Bytes: 10}}
	text += "\n# good\n" + show(good)
	broken := &verification{report: &pb.VerificationReport{BeganAt: before(time.Minute), Manifests: 1, Error: "bucket does not answer"}}
	text += "\n# broken off\n" + show(broken)
	bad.json = true
	text += "\n# json\n" + show(bad)
	golden(t, "verify-show", text)
}

func TestNumbersOfBytes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "50M": 50e6, "50MB": 50e6, "1.5G": 15e8, "10k": 10e3, "123": 123, "1 G": 1e9} {
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("%s: %d (%v)", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "M", "5X", "NaN", "1e30", "inf", "0x"} {
		if got, err := parseBytes(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestRequestsToVerifyThatCannotBe(t *testing.T) {
	c := newCLI(t)
	for args, says := range map[string]string{
		"--sample 0":     "--sample is 0, it must be over 0 and at most 1",
		"--sample 1.5":   "--sample is 1.5",
		"--sample NaN":   "--sample is NaN",
		"--rate fast":    "--rate: \"fast\" is no number of bytes",
		"--from nowhere": "--from: ",
		"--output yaml":  "neither text nor json",
		"what":           `verify: what is "what"? It takes flags only`,
	} {
		if line := c.fails(2, append([]string{"verify"}, strings.Fields(args)...)...); !strings.Contains(line, says) {
			t.Errorf("%s: %s", args, line)
		}
	}
}
