package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

type affectedJSON struct {
	Repository string   `json:"repository"`
	Tags       []string `json:"tags"`
	Manifest   string   `json:"manifest"`
}

type verificationFindingJSON struct {
	Kind       string         `json:"kind"`
	Subject    string         `json:"subject"`
	Repository string         `json:"repository,omitempty"`
	Bytes      int64          `json:"bytes"`
	Problem    string         `json:"problem"`
	Done       string         `json:"done,omitempty"`
	Remedy     string         `json:"remedy,omitempty"`
	Images     []affectedJSON `json:"images"`
	MoreImages int64          `json:"moreImages"`
}

type verificationJSON struct {
	Began        *time.Time                `json:"began,omitempty"`
	Ended        *time.Time                `json:"ended,omitempty"`
	Repositories []string                  `json:"repositories"`
	Sample       float64                   `json:"sample"`
	Seed         uint64                    `json:"seed"`
	Repair       bool                      `json:"repair"`
	Resumed      bool                      `json:"resumed"`
	Manifests    int64                     `json:"manifests"`
	Blobs        int64                     `json:"blobs"`
	BlobsRead    int64                     `json:"blobsRead"`
	Bytes        int64                     `json:"bytes"`
	Flips        int64                     `json:"flips"`
	Damaged      int64                     `json:"damaged"`
	Lost         int64                     `json:"lost"`
	Unreadable   int64                     `json:"unreadable"`
	PartsGone    int64                     `json:"partsGone"`
	Orphans      int64                     `json:"orphans"`
	OrphanBytes  int64                     `json:"orphanBytes"`
	Waiting      int64                     `json:"orphansWaiting"`
	Repaired     int64                     `json:"repaired"`
	Bad          int64                     `json:"bad"`
	Findings     []verificationFindingJSON `json:"findings"`
	MoreFindings int64                     `json:"moreFindings"`
	Error        string                    `json:"error,omitempty"`
}

func (v *verification) printed() any {
	r := v.report
	if r == nil {
		return nil
	}
	out := verificationJSON{
		timestamp(r.BeganAt), timestamp(r.EndedAt), append([]string{}, r.Repositories...), r.Sample, r.Seed, r.Repair, r.Resumed,
		r.Manifests, r.Blobs, r.BlobsRead, r.Bytes, r.Flips, r.Damaged, r.Lost, r.Unreadable, r.PartsGone,
		r.Orphans, r.OrphanBytes, r.OrphansWaiting, r.Repaired, r.Bad, []verificationFindingJSON{}, v.more, r.Error,
	}
	for _, f := range v.findings {
		j := verificationFindingJSON{f.Kind, f.Subject, f.Repository, f.Bytes, f.Problem, f.Done, f.Remedy, []affectedJSON{}, f.ImagesTotal - int64(len(f.Images))}
		for _, i := range f.Images {
			j.Images = append(j.Images, affectedJSON{i.Repository, append([]string{}, i.Tags...), i.Manifest})
		}
		out.Findings = append(out.Findings, j)
	}
	return out
}

// show prints what was found, and returns an error when something bad is left.
func (v *verification) show(now time.Time) error {
	var err error
	switch {
	case v.json:
		err = (&app{out: v.out}).printJSON(v.printed())
	case !v.quiet:
		err = showVerification(v.out, v, now)
	}
	if bad := v.report.GetBad(); err == nil && bad > 0 {
		err = fmt.Errorf("verify: %s left", areBad(bad))
	}
	return err
}

func areBad(n int64) string {
	return count(n, "bad thing") + map[bool]string{true: " is", false: " are"}[n == 1]
}

// kindWords are what is wrong, in a few words.
var kindWords = map[string]string{
	"damaged":    "damaged",
	"lost":       "data lost",
	"unreadable": "unreadable",
	"part_gone":  "part gone",
	"unlinked":   "not readable there",
	"condemned":  "about to be collected",
	"misfit":     "does not fit",
	"orphan":     "no record",
}

func showVerification(out io.Writer, v *verification, now time.Time) error {
	if len(v.findings) > 0 {
		if err := badTable(out, v.findings); err != nil {
			return err
		}
		if v.more > 0 {
			fmt.Fprintf(out, "and %d more\n", v.more)
		}
		for _, line := range remedies(v.findings) {
			fmt.Fprintln(out, line)
		}
		fmt.Fprintln(out)
	}
	r := v.report
	t := newTable(out)
	took := ""
	if r.BeganAt != nil && r.EndedAt != nil {
		if d := r.EndedAt.AsTime().Sub(r.BeganAt.AsTime()); d >= time.Second {
			took = " in " + d.Round(time.Second).String()
		}
	}
	t.row("Looked at:", fmt.Sprintf("%s and %s%s", count(r.Manifests, "manifest"), count(r.Blobs, "blob"), took))
	read := fmt.Sprintf("%s of %s", size(r.Bytes), count(r.BlobsRead, "blob"))
	if r.Sample > 0 && r.Sample < 1 {
		read += fmt.Sprintf(": a sample of %.4g %%, seed %d", r.Sample*100, r.Seed)
	}
	t.row("Read:", read)
	if len(r.Repositories) > 0 {
		t.row("Of:", list(r.Repositories))
	}
	switch {
	case r.EndedAt == nil:
		t.row("Broken off:", "lamina verify goes on from there")
	case r.Resumed:
		t.row("Began:", age(now, r.BeganAt)+", and was broken off meanwhile")
	default:
		t.row("Began:", age(now, r.BeganAt))
	}
	if r.Flips > 0 {
		t.row("Flips:", count(r.Flips, "read")+" bad, and good when repeated: do not trust the network or the memory of the server")
	}
	if r.Repaired > 0 {
		t.row("Repaired:", count(r.Repaired, "thing"))
	}
	if r.Orphans > 0 {
		t.row("Orphans:", fmt.Sprintf("%s that no record names, %s; collection frees them", count(r.Orphans, "data object"), size(r.OrphanBytes)))
	}
	switch {
	case r.Bad > 0:
		t.row("Bad:", badWords(r))
	case r.EndedAt != nil:
		t.row("Bad:", "nothing")
	}
	return t.flush()
}

// badWords are what is bad by kind.
func badWords(r *pb.VerificationReport) string {
	var words []string
	for _, x := range []struct {
		n    int64
		what string
	}{
		{r.Damaged, "damaged"}, {r.Lost, "with lost data"}, {r.Unreadable, "unreadable"}, {r.PartsGone, "with parts that are gone"},
	} {
		if x.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	s := fmt.Sprintf("%d left", r.Bad)
	if len(words) > 0 {
		s += " (found: " + list(words) + ")"
	}
	return s
}

// badTable has a row for each image that is affected.
func badTable(out io.Writer, found []*pb.VerificationFinding) error {
	var digests []string
	for _, f := range found {
		if isDigest(f.Subject) {
			digests = append(digests, f.Subject)
		}
		for _, i := range f.Images {
			digests = append(digests, i.Manifest)
		}
	}
	short := newShortener(digests...)
	t := newTable(out, "IMAGE", "MANIFEST", "WHAT", "IS", "SIZE", "DONE", "WHY")
	for _, f := range found {
		what := f.Subject
		if isDigest(what) {
			what = short.short(what)
		}
		is := f.Kind
		if w, ok := kindWords[is]; ok {
			is = w
		}
		if len(f.Images) == 0 {
			t.row(f.Repository, "-", what, is, size(f.Bytes), f.Done, f.Problem)
		}
		for _, i := range f.Images {
			t.row(affectedName(i), short.short(i.Manifest), what, is, size(f.Bytes), f.Done, f.Problem)
		}
		if more := f.ImagesTotal - int64(len(f.Images)); more > 0 && len(f.Images) > 0 {
			t.row(fmt.Sprintf("and %s", count(more, "other image")), "-", what, is, size(f.Bytes), f.Done, f.Problem)
		}
	}
	return t.flush()
}

func isDigest(s string) bool {
	return strings.HasPrefix(s, "sha256:") || strings.HasPrefix(s, "sha512:")
}

func affectedName(i *pb.AffectedImage) string {
	if len(i.Tags) == 0 {
		return i.Repository
	}
	return i.Repository + ":" + clip(strings.Join(i.Tags, ","), 40)
}

// remedies are what to do, each once.
func remedies(found []*pb.VerificationFinding) (lines []string) {
	said := map[string]bool{}
	for _, f := range found {
		if f.Remedy != "" && f.Done != doneRepaired && !said[f.Remedy] {
			said[f.Remedy] = true
			lines = append(lines, "To do: "+printable(f.Remedy))
		}
	}
	return lines
}
