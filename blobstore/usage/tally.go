package usage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// A tally adds up what a walk finds. Repositories come one after another.
type tally struct {
	at        time.Time
	blobs     map[digest.Digest]*namedBlob
	repos     []Repository // that of the moment last
	named     int64
	stored    int64
	unnamed   int64
	all       int64 // blobs
	manifests map[digest.Digest]struct{}
}

// A namedBlob is a blob that at least one image names.
type namedBlob struct {
	size   int64
	images int64
	// repos are the places in tally.repos of the first repositories that name
	// it, ascending; last is that of the last one.
	repos []int32
	last  int32
}

func newTally(at time.Time) *tally {
	return &tally{at: at, blobs: map[digest.Digest]*namedBlob{}, manifests: map[digest.Digest]struct{}{}}
}

// begin says that what follows is in repo.
func (t *tally) begin(repo reference.Repository) {
	t.repos = append(t.repos, Repository{Name: repo})
}

func (t *tally) here() *Repository { return &t.repos[len(t.repos)-1] }

func (t *tally) tag() { t.here().Tags++ }

// image counts the manifest m, which names blobs of these sizes, itself
// included.
func (t *tally) image(m digest.Digest, sizes map[digest.Digest]int64) {
	t.manifests[m] = struct{}{}
	at := int32(len(t.repos) - 1)
	t.here().Manifests++
	for d, size := range sizes {
		b := t.blobs[d]
		if b == nil {
			b = &namedBlob{size: size, last: -1}
			t.blobs[d] = b
			t.stored += size
		}
		b.images++
		t.named += size
		t.here().Named += size
		if b.last != at {
			b.last = at
			t.here().Stored += size
			if len(b.repos) < MaxSharedRepositories {
				b.repos = append(b.repos, at)
			}
		}
	}
}

// blob counts a blob that is in the store, named or not.
func (t *tally) blob(d digest.Digest, size int64) {
	t.all++
	if t.blobs[d] == nil {
		t.unnamed += size
	}
}

func (t *tally) usage() Usage {
	u := Usage{
		CountedAt: t.at, Named: t.named, Stored: t.stored, Unnamed: t.unnamed, Blobs: t.all,
	}
	for d, b := range t.blobs {
		if len(b.repos) == 1 {
			t.repos[b.repos[0]].Own += b.size
		}
		if b.images > 1 && b.size > 0 {
			u.Shared = append(u.Shared, Shared{Digest: d, Size: b.size, Images: b.images})
		}
	}
	slices.SortFunc(u.Shared, func(a, b Shared) int {
		return cmp.Or(cmp.Compare(b.saved(), a.saved()), strings.Compare(string(a.Digest), string(b.Digest)))
	})
	u.Shared = slices.Clone(u.Shared[:min(len(u.Shared), MaxShared)])
	for i := range u.Shared {
		for _, at := range t.blobs[u.Shared[i].Digest].repos {
			u.Shared[i].Repositories = append(u.Shared[i].Repositories, t.repos[at].Name)
		}
	}
	u.Manifests = int64(len(t.manifests))
	u.Repositories = largest(t.repos)
	return u
}

func (s *Shared) saved() int64 { return s.Size * (s.Images - 1) }

// largest returns the repositories with the most named bytes, ordered by name.
func largest(repos []Repository) []Repository {
	repos = slices.Clone(repos)
	if len(repos) > MaxRepositories {
		slices.SortStableFunc(repos, func(a, b Repository) int { return cmp.Compare(b.Named, a.Named) })
		repos = repos[:MaxRepositories]
	}
	slices.SortFunc(repos, func(a, b Repository) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return repos
}
