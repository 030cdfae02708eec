package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

type collectionFindingJSON struct {
	Kind       string     `json:"kind"`
	Subject    string     `json:"subject"`
	Repository string     `json:"repository,omitempty"`
	Step       string     `json:"step"`
	Why        string     `json:"why"`
	Bytes      int64      `json:"bytes"`
	Next       *time.Time `json:"next,omitempty"`
}

type problemJSON struct {
	Subject    string `json:"subject"`
	Repository string `json:"repository,omitempty"`
	Detail     string `json:"detail"`
}

func collectionJSON(r *pb.CollectionReport, found []*pb.CollectionFinding, more int64) any {
	v := struct {
		Began            *time.Time              `json:"began,omitempty"`
		Ended            *time.Time              `json:"ended,omitempty"`
		DryRun           bool                    `json:"dryRun"`
		Full             bool                    `json:"full"`
		Holder           string                  `json:"holder,omitempty"`
		Manifests        int64                   `json:"manifests"`
		Marked           int64                   `json:"marked"`
		Listed           int64                   `json:"listed"`
		Condemned        int64                   `json:"condemned"`
		Collected        int64                   `json:"collected"`
		Revived          int64                   `json:"revived"`
		FreedObjects     int64                   `json:"freedObjects"`
		FreedBytes       int64                   `json:"freedBytes"`
		WaitingBytes     int64                   `json:"waitingBytes"`
		WaitingUntil     *time.Time              `json:"waitingUntil,omitempty"`
		Uploads          int64                   `json:"uploads"`
		Links            int64                   `json:"links"`
		Records          int64                   `json:"records"`
		Orphans          int64                   `json:"orphans"`
		Nodes            int64                   `json:"nodes"`
		TagsRemoved      int64                   `json:"tagsRemoved"`
		ManifestsRemoved int64                   `json:"manifestsRemoved"`
		Findings         []collectionFindingJSON `json:"findings"`
		MoreFindings     int64                   `json:"moreFindings"`
		Problems         []problemJSON           `json:"problems"`
		MoreProblems     int64                   `json:"moreProblems"`
		Error            string                  `json:"error,omitempty"`
	}{
		timestamp(r.BeganAt), timestamp(r.EndedAt), r.DryRun, r.Full, r.Holder, r.Manifests, r.Marked, r.Listed,
		r.Condemned, r.Collected, r.Revived, r.FreedObjects, r.FreedBytes, r.WaitingBytes, timestamp(r.WaitingUntil),
		r.Uploads, r.Links, r.Records, r.Orphans, r.Nodes, r.TagsRemoved, r.ManifestsRemoved,
		[]collectionFindingJSON{}, more, []problemJSON{}, r.ProblemsTotal - int64(len(r.Problems)), r.Error,
	}
	for _, f := range found {
		v.Findings = append(v.Findings, collectionFindingJSON{f.Kind, f.Subject, f.Repository, f.Step, f.Why, f.Bytes, timestamp(f.NextAt)})
	}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, problemJSON{p.Subject, p.Repository, p.Detail})
	}
	return v
}

// maxProblems is how many problems people are shown.
const maxProblems = 20

func showCollection(out io.Writer, r *pb.CollectionReport, found []*pb.CollectionFinding, more int64, now time.Time) error {
	if len(found) > 0 {
		if err := findingTable(out, found, now); err != nil {
			return err
		}
		if more > 0 {
			fmt.Fprintf(out, "and %d more (--all)\n", more)
		}
		fmt.Fprintln(out)
	}
	t := newTable(out)
	for _, row := range collectionRows(r, now) {
		t.row(row[0], row[1])
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		fmt.Fprintf(out, "\n%s:\n", count(r.ProblemsTotal, "problem"))
		shown := r.Problems[:min(len(r.Problems), maxProblems)]
		for _, p := range shown {
			fmt.Fprintf(out, "  %s: %s\n", printable(problemSubject(p)), printable(p.Detail))
		}
		if more := r.ProblemsTotal - int64(len(shown)); more > 0 {
			fmt.Fprintf(out, "  and %d more (-o json has up to 1000)\n", more)
		}
	}
	return nil
}

func problemSubject(p *pb.MaintenanceProblem) string {
	switch {
	case p.Repository == "":
		return p.Subject
	case strings.Contains(p.Subject, ":"): // a digest
		return p.Repository + "@" + p.Subject
	case p.Subject == "":
		return p.Repository
	}
	return p.Repository + ":" + p.Subject
}

func findingTable(out io.Writer, found []*pb.CollectionFinding, now time.Time) error {
	var digests []string
	for _, f := range found {
		if strings.Contains(f.Subject, ":") {
			digests = append(digests, f.Subject)
		}
	}
	short := newShortener(digests...)
	t := newTable(out, "WHAT", "NAME", "SIZE", "STEP", "NEXT STEP", "WHY")
	for _, f := range found {
		name := short.short(f.Subject)
		switch {
		case f.Repository == "":
		case f.Kind == "tag":
			name = f.Repository + ":" + name
		case f.Kind == "manifest" || f.Kind == "link":
			name = f.Repository + "@" + name
		default:
			name += " in " + f.Repository
		}
		t.row(f.Kind, name, size(f.Bytes), f.Step, in(now, f.NextAt), f.Why)
	}
	return t.flush()
}

// collectionRows are the summary in words.
func collectionRows(r *pb.CollectionReport, now time.Time) [][2]string {
	does := func(did, would string) string {
		if r.DryRun {
			return would
		}
		return did
	}
	var rows [][2]string
	row := func(label, format string, args ...any) {
		rows = append(rows, [2]string{label, fmt.Sprintf(format, args...)})
	}
	switch {
	case r.Error != "":
		row("Broken off:", "what was done until then is safe, and the next cycle goes on")
	case r.DryRun:
		row("Dry run:", "nothing was changed")
	}
	row(does("Freed:", "Would free:"), "%s%s", size(r.FreedBytes), inObjects(r.FreedObjects))
	if r.WaitingBytes > 0 {
		row("Waiting:", "%s, %s unless something uses it again", size(r.WaitingBytes), until(now, r.WaitingUntil))
	}
	if n := r.Condemned + r.Collected; n > 0 {
		row(does("Steps:", "Would step:"), "%s condemned, %d collected", count(r.Condemned, "blob"), r.Collected)
	}
	if r.Revived > 0 {
		row("Kept:", "%s, condemned once and named again since", count(r.Revived, "blob"))
	}
	if r.TagsRemoved+r.ManifestsRemoved > 0 {
		row("Retention:", "%s %s and %s", does("removed", "would remove"), count(r.TagsRemoved, "tag"), count(r.ManifestsRemoved, "image"))
	}
	if rest := leftovers(r); rest != "" {
		row("Besides:", "%s %s", does("removed", "would remove"), rest)
	}
	if r.Error == "" || r.Listed > 0 {
		row("Looked at:", "%s, which name %d of %s", count(r.Manifests, "manifest"), r.Marked, count(r.Listed, "blob"))
	}
	took := ""
	if r.BeganAt != nil && r.EndedAt != nil {
		if d := r.EndedAt.AsTime().Sub(r.BeganAt.AsTime()); d >= time.Second {
			took = ", in " + d.Round(time.Second).String()
		}
	}
	kind := "a cycle"
	if r.Full {
		kind = "a full cycle"
	}
	row("Began:", "%s, %s%s%s", age(now, r.BeganAt), kind, took, map[bool]string{true: " on " + printable(r.Holder)}[r.Holder != ""])
	return rows
}

func inObjects(n int64) string {
	if n == 0 {
		return ""
	}
	return " in " + count(n, "object")
}

// leftovers are what was removed beside blobs.
func leftovers(r *pb.CollectionReport) string {
	var words []string
	for _, x := range []struct {
		n    int64
		what string
	}{
		{r.Uploads, "unfinished upload"}, {r.Orphans, "data object"}, {r.Links, "link"}, {r.Records, "old record"}, {r.Nodes, "silent node"},
	} {
		if x.n > 0 {
			words = append(words, count(x.n, x.what))
		}
	}
	return list(words)
}

// in is how long it is until t, for a column.
func in(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	d := t.AsTime().Sub(now)
	if d <= 0 {
		return "next cycle"
	}
	return "in " + span(d)
}

// until is by when, for a sentence.
func until(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil {
		return "for a later cycle,"
	}
	at := t.AsTime()
	if !at.After(now) {
		return "for the next cycle,"
	}
	return fmt.Sprintf("the last of it until %s UTC (in %s),", at.UTC().Format("2006-01-02 15:04"), span(at.Sub(now)))
}

// span is a time for people, rounded up.
func span(d time.Duration) string {
	up := func(unit time.Duration, what string) string { return count(int64((d+unit-1)/unit), what) }
	switch {
	case d <= 2*time.Minute:
		return up(time.Second, "second")
	case d <= 2*time.Hour:
		return up(time.Minute, "minute")
	case d <= 48*time.Hour:
		return up(time.Hour, "hour")
	}
	return up(24*time.Hour, "day")
}
