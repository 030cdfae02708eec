package usage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/reference"
)

// A tally adds up what a walk finds. Repositories come one after another.
type tally struct {
	at        time.Time
	realms    realm.Map
	realm     realm.Name // of the repository of the moment
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
	size  int64
	parts []part // one for each realm in which it is named
}

// A part is what one realm has of a blob.
type part struct {
	realm  realm.Name
	images int64
	// repos are the places in tally.repos of the first repositories that name
	// it, ascending; last is that of the last one.
	repos []int32
	last  int32
}

// part returns that of a realm.
func (b *namedBlob) part(in realm.Name) *part {
	i := slices.IndexFunc(b.parts, func(p part) bool { return p.realm == in })
	if i < 0 {
		b.parts = append(b.parts, part{realm: in, last: -1})
		i = len(b.parts) - 1
	}
	return &b.parts[i]
}

func newTally(at time.Time, realms realm.Map) *tally {
	return &tally{at: at, realms: realms, blobs: map[digest.Digest]*namedBlob{}, manifests: map[digest.Digest]struct{}{}}
}

// begin says that what follows is in repo.
func (t *tally) begin(repo reference.Repository) {
	t.repos = append(t.repos, Repository{Name: repo})
	t.realm = t.realms.Of(repo)
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
			b = &namedBlob{size: size}
			t.blobs[d] = b
			t.stored += size
		}
		p := b.part(t.realm)
		p.images++
		t.named += size
		t.here().Named += size
		if p.last != at {
			p.last = at
			t.here().Stored += size
			if len(p.repos) < MaxSharedRepositories {
				p.repos = append(p.repos, at)
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
	var shared []sharedPart
	for d, b := range t.blobs {
		for _, p := range b.parts {
			if len(p.repos) == 1 {
				t.repos[p.repos[0]].Own += b.size
			}
			if p.images > 1 && b.size > 0 {
				shared = append(shared, sharedPart{Shared{Digest: d, Size: b.size, Images: p.images}, p})
			}
		}
	}
	slices.SortFunc(shared, func(a, b sharedPart) int {
		return cmp.Or(cmp.Compare(b.saved(), a.saved()), strings.Compare(string(a.Digest), string(b.Digest)), cmp.Compare(a.repos[0], b.repos[0]))
	})
	for _, s := range shared[:min(len(shared), MaxShared)] {
		for _, at := range s.repos {
			s.Repositories = append(s.Repositories, t.repos[at].Name)
		}
		u.Shared = append(u.Shared, s.Shared)
	}
	u.Manifests = int64(len(t.manifests))
	u.Repositories = largest(t.repos)
	return u
}

// A sharedPart is a Shared with what is known of it.
type sharedPart struct {
	Shared
	part
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
