package verify

import (
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// A found is a finding on its way to the report.
type found struct {
	Finding
	digest digest.Digest // of the blob; "" when it is about something else
	size   int64         // of the blob in bytes, -1 when it is not known
	// sure is set when it is a finding by itself; else it is one only if an image
	// that is live names it.
	sure bool
	// holders are the repositories whose images name it as their config or layer.
	holders []reference.Repository
	// manifest is that of an image, for findings that are about a name of it.
	manifest digest.Digest
	tag      reference.Tag
}

// add takes in something that was found. What exceeds the memory for it is counted
// at once, without the images that it is in.
func (r *run) add(f *found) {
	if f.digest != "" {
		if _, ok := r.byBlob[f.digest]; ok {
			return
		}
	}
	if len(f.Problem) > maxProblem {
		f.Problem = f.Problem[:maxProblem]
	}
	if f.sure {
		r.mu.Lock()
		r.at.Bad++
		r.mu.Unlock()
		r.v.log.Error("verification has found something bad", "kind", f.Kind, "subject", f.Subject, "repository", f.Repository, "problem", f.Problem)
	}
	if len(r.found) >= maxFound {
		if f.sure {
			r.tellOf(f.Finding)
		}
		return
	}
	r.found = append(r.found, f)
	if f.digest != "" {
		r.byBlob[f.digest] = f
	}
}

// settle brings all that was found into the report.
func (r *run) settle() {
	for _, f := range r.found {
		if f.sure {
			r.tellOf(f.Finding)
		}
	}
	r.found = nil
}

func (r *run) tellOf(f Finding) {
	r.report.note(f)
	if r.o.Each != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.o.Each(f)
	}
}

// note counts a finding, and lists it if it is no orphan and there is room.
func (r *Report) note(f Finding) {
	switch f.Kind {
	case Damaged:
		r.Damaged++
	case Lost:
		r.Lost++
	case Unreadable:
		r.Unreadable++
	case Orphan:
		r.Orphans++
		r.OrphanBytes += f.Bytes
		return
	default:
		r.PartsGone++
	}
	if f.Done == Repaired {
		r.Repaired++
	}
	if f.Bad() {
		r.Bad++
	}
	if len(r.Findings) < MaxFindings {
		r.Findings = append(r.Findings, f)
	}
}

func (f *foundRecord) finding() Finding {
	return Finding{
		Kind: f.Kind, Subject: string(f.Digest), Bytes: f.Bytes, Problem: f.Problem,
		Done: Quarantined, Remedy: remedyOf(f.Kind),
	}
}

// The remedies, as docs/verify.md has them.
const (
	pushAgain  = "push it again, or run lamina verify --repair, with --from docker://REGISTRY/REPOSITORY if another registry has it"
	runRepair  = "run lamina verify --repair"
	pushImage  = "push the image again, or remove what names it"
	removeIt   = "remove the record from the bucket if nobody needs what it says, after a copy of it was made"
	collectIt  = "lamina gc --full deletes it"
	bringAgain = "push an image that has the layer again: it is checked anew then"
)

func remedyOf(k Kind) string {
	switch k {
	case Damaged, Lost, PartGone, Unreadable:
		return pushAgain
	case Unlinked, Condemned:
		return runRepair
	case Dangling:
		return pushImage
	case Misfit:
		return bringAgain
	case Orphan:
		return collectIt
	}
	return ""
}
