package usage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// A blobSum adds up the names of one blob.
type blobSum struct {
	digest   digest.Digest
	size     int64
	manifest bool
	image    int32 // of the last name; -1 before the first
	named    bool  // by a repository
	held     bool  // by something else
	part     *part // of the realm of the moment; nil before the first
}

// A part is what one realm has of a blob.
type part struct {
	realm  uint16
	images int64
	repos  []int32 // the first of those that name it
	last   int32   // of those that name it
	many   bool    // it is not the only one
}

// add takes in the next name of the blob.
func (b *blobSum) add(t *tally, u *Usage, n name) {
	if n.image == b.image {
		return // one manifest that says two sizes
	}
	b.image = n.image
	if n.repo == heldRepo {
		b.held = true
		return
	}
	b.manifest = b.manifest || n.manifest
	b.named = true
	if b.part == nil || b.part.realm != n.realm {
		b.endPart(t, u)
		b.part = &part{realm: n.realm, last: -1}
	}
	p := b.part
	p.images++
	if p.last != n.repo {
		p.many = p.last >= 0
		p.last = n.repo
		t.repos[n.repo].Stored += b.size
		if len(p.repos) < MaxSharedRepositories {
			p.repos = append(p.repos, n.repo)
		}
	}
}

// endPart ends the part of a realm.
func (b *blobSum) endPart(t *tally, u *Usage) {
	p := b.part
	if p == nil {
		return
	}
	if !p.many {
		t.repos[p.last].Own += b.size
	}
	if b.size == 0 {
		return
	}
	s := Shared{Digest: b.digest, Size: b.size, Images: p.images}
	add := func(list []Shared, most int, less func(a, b Shared) int) []Shared {
		if len(list) == most && less(s, list[most-1]) >= 0 {
			return list
		}
		s := s
		for _, at := range p.repos {
			s.Repositories = append(s.Repositories, t.repos[at].Name)
		}
		at, _ := slices.BinarySearchFunc(list, s, less)
		return slices.Insert(list, at, s)[:min(len(list)+1, most)]
	}
	if p.images > 1 {
		u.Shared = add(u.Shared, MaxShared, bySaved)
	}
	u.LargestBlobs = add(u.LargestBlobs, MaxLargest, bySize)
}

// end ends the blob.
func (b *blobSum) end(t *tally, u *Usage) {
	b.endPart(t, u)
	switch {
	case b.named:
		u.Stored += b.size
		if b.manifest {
			u.Manifests++
		}
	case b.held:
		u.Held += b.size
	}
}

// Saved is what storing the blob once saves, in bytes.
func (s *Shared) Saved() int64 { return s.Size * (s.Images - 1) }

func bySaved(a, b Shared) int {
	return cmp.Or(cmp.Compare(b.Saved(), a.Saved()), strings.Compare(string(a.Digest), string(b.Digest)), compareFirst(a, b))
}

func bySize(a, b Shared) int {
	return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(string(a.Digest), string(b.Digest)), compareFirst(a, b))
}

// compareFirst orders what two realms have of a blob: in the order of their
// first repositories.
func compareFirst(a, b Shared) int {
	return slices.Compare(a.Repositories[:min(1, len(a.Repositories))], b.Repositories[:min(1, len(b.Repositories))])
}

// addLargest and addOldest keep the MaxLargest first of a list in order. A
// manifest that several repositories have is there once.
func addLargest(list []Image, i Image) []Image {
	return addImage(list, i, func(a, b Image) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(string(a.Digest), string(b.Digest)))
	}, func(a, b Image) bool { return a.Digest == b.Digest })
}

func addOldest(list []Image, i Image) []Image {
	return addImage(list, i, func(a, b Image) int {
		return cmp.Or(a.Pushed.Compare(b.Pushed), strings.Compare(string(a.Repository), string(b.Repository)), strings.Compare(string(a.Digest), string(b.Digest)))
	}, func(a, b Image) bool { return a.Digest == b.Digest && a.Repository == b.Repository })
}

func addImage(list []Image, i Image, order func(a, b Image) int, same func(a, b Image) bool) []Image {
	i.Pushed = i.Pushed.UTC()
	if at := slices.IndexFunc(list, func(o Image) bool { return same(o, i) }); at >= 0 {
		if i.Repository < list[at].Repository {
			list[at] = i
		}
		return list
	}
	at, _ := slices.BinarySearchFunc(list, i, order)
	if at == MaxLargest {
		return list
	}
	return slices.Insert(list, at, i)[:min(len(list)+1, MaxLargest)]
}

// largestRepositories returns those with the most named bytes, ordered by name,
// without those that only have blobs.
func largestRepositories(repos []Repository) []Repository {
	repos = slices.DeleteFunc(slices.Clone(repos), func(r Repository) bool { return r.Tags == 0 && r.Manifests == 0 })
	if len(repos) > MaxRepositories {
		slices.SortStableFunc(repos, func(a, b Repository) int { return cmp.Compare(b.Named, a.Named) })
		repos = repos[:MaxRepositories]
	}
	slices.SortFunc(repos, func(a, b Repository) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return repos
}
