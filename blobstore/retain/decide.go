package retain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/images"
)

// A verdict is what a rule makes of a tag or a manifest.
type verdict struct {
	goes bool
	why  string
	next time.Time // of one that is kept: when it may go at the earliest
}

// tagVerdicts says what becomes of each tag of v, in their order.
func (v *view) tagVerdicts(r *Rule) []verdict {
	verdicts := make([]verdict, len(v.tags))
	var ordinary []int // places of tags that count by themselves
	for i, t := range v.tags {
		switch s := v.subjectOf(t.Tag); {
		case !r.removesTags():
			verdicts[i].why = "the rule keeps all tags"
		case s != nil && !s.Gone:
			verdicts[i].why = "it is about " + string(s.Digest) + ", which is there"
		case s != nil && s.Since.After(t.Since):
			verdicts[i] = verdict{goes: true, why: "it is about " + string(s.Digest) + ", which was removed"}
		default:
			ordinary = append(ordinary, i)
		}
	}
	slices.SortStableFunc(ordinary, func(a, b int) int { // stable: ties by name
		return v.tags[b].Since.Compare(v.tags[a].Since)
	})
	for rank, i := range ordinary {
		verdicts[i] = r.tag(v.tags[i], rank, v.now)
	}
	return verdicts
}

// tag says what becomes of a tag before which rank others were written later.
func (r *Rule) tag(t images.TagSeen, rank int, now time.Time) verdict {
	var not []string
	if len(r.KeepTags) > 0 {
		if g, ok := r.matching(t.Tag); ok {
			return verdict{why: fmt.Sprintf("it matches %q", g)}
		}
		not = append(not, "it matches none of keep-tags")
	}
	if r.KeepLast > 0 {
		if rank < r.KeepLast {
			return verdict{why: fmt.Sprintf("it is number %d of the last %d that are kept", rank+1, r.KeepLast)}
		}
		not = append(not, fmt.Sprintf("%d tags were written after it", rank))
	}
	if r.KeepYounger > 0 {
		age := now.Sub(t.Since)
		if age < r.KeepYounger {
			return verdict{why: "it was written " + showAge(age) + " ago", next: t.Since.Add(r.KeepYounger)}
		}
		not = append(not, "it was written "+showAge(age)+" ago")
	}
	return verdict{goes: true, why: strings.Join(not, ", ")}
}

// judge says in each manifest of v what becomes of it. One that goes may be what
// kept others, and so they are looked at again.
func (v *view) judge(r *Rule, held map[digest.Digest]string) {
	again := make([]int32, len(v.manifests))
	for i := range again {
		again[i] = int32(i)
	}
	for len(again) > 0 {
		i := again[len(again)-1]
		again = again[:len(again)-1]
		m := &v.manifests[i]
		if m.Gone || m.verdict.goes {
			continue
		}
		if m.verdict = v.manifest(m, r, held); m.verdict.goes {
			again = append(append(again, m.names...), m.refer...)
		}
	}
}

func (v *view) manifest(m *manifest, r *Rule, held map[digest.Digest]string) verdict {
	if m.tags > 0 {
		why := fmt.Sprintf("tag %s names it", m.tag)
		if m.tags > 1 {
			why += fmt.Sprintf(", and %d more", m.tags-1)
		}
		return verdict{why: why}
	}
	if why, ok := held[m.Digest]; ok {
		return verdict{why: why}
	}
	for _, n := range m.namers {
		if !v.manifests[n].verdict.goes {
			return verdict{why: fmt.Sprintf("index %s names it", v.manifests[n].Digest)}
		}
	}
	if s := v.get(m.Subject); s != nil && m.Subject != "" {
		switch {
		case !s.Gone && !s.verdict.goes:
			return verdict{why: fmt.Sprintf("its subject %s is there", s.Digest)}
		case !s.Gone:
			return verdict{goes: true, why: fmt.Sprintf("its subject %s goes", s.Digest)}
		case s.Since.After(m.Since):
			return verdict{goes: true, why: fmt.Sprintf("its subject %s was removed", s.Digest)}
		}
	}
	since := m.Since
	if m.lost.After(since) {
		since = m.lost
	}
	age := v.now.Sub(since)
	why := fmt.Sprintf("no tag has named it for %s", showAge(age))
	if since.Equal(m.Since) && m.lost.IsZero() {
		why = fmt.Sprintf("it was pushed %s ago, and no tag names it", showAge(age))
	}
	if age < r.UntaggedAfter {
		return verdict{why: why, next: since.Add(r.UntaggedAfter)}
	}
	return verdict{goes: true, why: why}
}
