package usage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/reference"
)

// namesMemory is the memory in bytes in which names are sorted before they go to
// disk.
const namesMemory = 16 << 20

// A tally adds up what a mark finds. What is counted for each distinct blob is
// not known before all names of it are: each name is kept in sorted runs on
// disk, some 60 bytes, and all are gone through in the end, blob by blob.
type tally struct {
	counter *Counter
	at      time.Time

	mu     sync.Mutex
	names  *runs.Sorter
	err    error // the first of names
	places map[reference.Repository]int32
	repos  []Repository
	realms map[realm.Name]uint16
	of     []uint16 // the realm of each repository
	images int32    // so far: a number for each
	seen   Usage    // what needs no sorting
	listed int64
	gone   int64
	buf    []byte
}

var _ collect.Tally = (*tally)(nil)

// Tally returns what is to be told what a mark finds: for collect.Options.Tally.
func (c *Counter) Tally() collect.Tally {
	return &tally{
		counter: c, at: c.store.Clock().Now(), names: runs.New(c.temp, namesMemory),
		places: map[reference.Repository]int32{}, realms: map[realm.Name]uint16{},
	}
}

// place returns that of a repository in repos.
func (t *tally) place(repo reference.Repository) int32 {
	if at, ok := t.places[repo]; ok {
		return at
	}
	at := int32(len(t.repos))
	t.places[repo] = at
	t.repos = append(t.repos, Repository{Name: repo})
	in := t.counter.realms.Of(repo)
	n, ok := t.realms[in]
	if !ok {
		n = uint16(len(t.realms))
		t.realms[in] = n
	}
	t.of = append(t.of, n)
	return at
}

// Repository implements collect.Tally.
func (t *tally) Repository(repo reference.Repository) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.place(repo)
}

// Tag implements collect.Tally.
func (t *tally) Tag(repo reference.Repository, _ reference.Tag) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repos[t.place(repo)].Tags++
}

// Manifest implements collect.Tally.
func (t *tally) Manifest(repo reference.Repository, m images.Descriptor, named []images.Descriptor, created time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := name{realm: heldRealm, repo: heldRepo, image: t.images}
	t.images++
	if repo != "" {
		at := t.place(repo)
		n.realm, n.repo = t.of[at], at
		t.repos[at].Manifests++
	}
	distinct := map[digest.Digest]int64{m.Digest: m.Size}
	for _, d := range named {
		if _, twice := distinct[d.Digest]; !twice && !images.IsManifest(d.MediaType) && !images.IsIndex(d.MediaType) {
			distinct[d.Digest] = d.Size
		}
	}
	i := Image{Repository: repo, Digest: m.Digest, Pushed: created}
	for d, size := range distinct {
		i.Size += size
		n.digest, n.size, n.manifest = d, size, d == m.Digest
		if t.buf, t.err = n.encode(t.buf[:0], t.err); t.err == nil {
			t.err = t.names.Add(t.buf)
		}
	}
	if repo == "" {
		return
	}
	t.repos[n.repo].Named += i.Size
	if !images.IsIndex(m.MediaType) { // its manifests count by themselves
		t.seen.Largest = addLargest(t.seen.Largest, i)
	}
	if !created.IsZero() {
		t.seen.Oldest = addOldest(t.seen.Oldest, i)
		if r := &t.repos[n.repo]; r.Oldest.IsZero() || created.Before(r.Oldest) {
			r.Oldest = created.UTC()
		}
	}
}

// Unnamed implements collect.Tally.
func (t *tally) Unnamed(j blobstore.Judgement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case j.Gone:
		t.gone++
		t.seen.Draining += j.Waiting
	case j.Step == blobstore.Condemned:
		t.seen.Condemned += j.Size
		t.seen.Unnamed += j.Size
	default:
		t.seen.Unnamed += j.Size
	}
}

// Listed implements collect.Tally.
func (t *tally) Listed(blobs int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed = blobs
}

// doneWithin is how long writing the result may take.
const doneWithin = time.Minute

// Done implements collect.Tally: it keeps the result.
func (t *tally) Done() error {
	defer t.Drop()
	u, err := t.usage()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), doneWithin)
	defer cancel()
	return t.counter.keep(ctx, u)
}

// Drop implements collect.Tally.
func (t *tally) Drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.names.Close(); err != nil {
		t.counter.log.Warn("what a count has sorted on disk could not be given back", "error", err)
	}
}

// usage goes through the names and adds up.
func (t *tally) usage() (Usage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return Usage{}, t.err
	}
	u := t.seen
	u.CountedAt, u.Blobs = t.at, t.listed-t.gone
	var b blobSum
	for raw, err := range t.names.Sorted() {
		if err != nil {
			return Usage{}, err
		}
		n, err := decodeName(raw)
		if err != nil {
			return Usage{}, err
		}
		if n.digest != b.digest {
			b.end(t, &u)
			b = blobSum{digest: n.digest, size: n.size, image: -1}
		}
		b.add(t, &u, n)
	}
	b.end(t, &u)
	for _, r := range t.repos {
		u.Named += r.Named
	}
	u.Repositories = largestRepositories(t.repos)
	for _, s := range slices.Concat(u.Shared, u.LargestBlobs) {
		slices.Sort(s.Repositories)
	}
	return u, nil
}

// errName is of a name that is none, which only a damaged disk makes.
var errName = errors.New("what was sorted on disk is damaged: count again")
