package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A judge knows what was acknowledged, reads the bucket's objects themselves,
// with no code of the store between, and says what does not go together.
type judge struct {
	w *World

	mu        sync.Mutex
	blobs     map[digest.Digest]blobState
	names     map[string]nameState // links and tags, by key
	data      map[string]bool      // data/ objects that are there
	manifests map[string]*claim    // by key
	tags      map[string]*claim    // by key
	promised  map[digest.Digest]time.Time
	held      map[string]*claim // repositories' blobs, by key
	holders   map[hold]*holding
	counts    map[string]int
	by        int    // the step at which the cycle began whose write is being looked at, 0: none
	broken    string // the first thing that is wrong
}

// blobState is what a blob's record says.
type blobState struct {
	exists bool
	State  string
	Life   string
	Size   int64
	Inline []byte
	Copies []string
	Drop   []json.RawMessage
	Barred []json.RawMessage
	life   int // how often it has come to life
	since  int // the step at which it was condemned
}

// nameState is what the record of a link or a tag says.
type nameState struct {
	exists     bool
	Generation string
	Gone       bool
	Digest     digest.Digest
	Payload    struct{ Life string }
}

// A claim is what clients were told of a manifest's link or of a tag.
type claim struct {
	repo    reference.Repository
	digest  digest.Digest // the manifest's, or what the tag names
	certain bool          // it must be so now
	busy    int           // operations that may change it
	overlap bool          // two were at work at once
	until   time.Time     // of a repository's blob: it is held at least so long
	mayGo   int           // how often operations have begun, or failed, that may remove a link
	went    int           // how often it has gone
	writes  int           // how often a tag was written
	gone    bool          // of a manifest: its deletion was acknowledged, and nobody has put it since
	puts    int           // how often somebody began to put it
	putting int           // who does so now
	absent  bool          // of a tag: its manifest was deleted
}

type hold struct {
	repo reference.Repository
	blob digest.Digest
}

// A holding is the lives of a blob in which a repository came by it.
type holding struct {
	busy  int
	lives map[int]bool
}

func newJudge(w *World) *judge {
	return &judge{
		w: w, blobs: map[digest.Digest]blobState{}, names: map[string]nameState{}, data: map[string]bool{},
		manifests: map[string]*claim{}, tags: map[string]*claim{}, promised: map[digest.Digest]time.Time{},
		held: map[string]*claim{}, holders: map[hold]*holding{}, counts: map[string]int{},
	}
}

// count counts something that happened.
func (j *judge) count(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts[what]++
}

// wrong notes a violation; the first counts.
func (j *judge) wrong(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wrongLocked(format, args...)
}

func (j *judge) wrongLocked(format string, args ...any) {
	if j.broken == "" {
		j.broken = fmt.Sprintf(format, args...)
	}
}

// changed reads again what a write has changed.
func (j *judge) changed(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, key := range c.keys {
		j.by = c.cycle
		j.read(key)
		j.by = 0
	}
}

// late notes that a write landed whose caller had gone: what it changed is no
// longer what a client was told last.
func (j *judge) late(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts["late write landed"]++
	for _, key := range c.keys {
		if m := j.manifests[key]; m != nil {
			j.unsure(m)
		}
		for _, of := range []map[string]*claim{j.tags, j.held} {
			if t := of[key]; t != nil {
				t.certain, t.absent = false, false
				t.writes++
				if strings.Contains(key, "/_tags/") {
					t.digest = ""
				}
			}
		}
	}
}

// unsure says that a manifest may go, and with it its tags.
func (j *judge) unsure(m *claim) {
	m.certain = false
	for _, t := range j.tags {
		if t.repo == m.repo && t.digest == m.digest {
			t.certain = false
		}
	}
}

// scan reads all of the bucket.
func (j *judge) scan() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, prefix := range []string{"blobs/", "repos/", "data/"} {
		for info := range j.w.bucket.List(context.Background(), prefix, "") {
			j.read(info.Key)
		}
	}
}

// raw returns the bytes of an object, nil if there is none.
func (j *judge) raw(key string) []byte {
	r, _, err := j.w.bucket.Get(context.Background(), key, 0, -1)
	if err != nil {
		return nil
	}
	b, _ := io.ReadAll(r)
	return b
}

// read takes in what is under a key. The lock is held.
func (j *judge) read(key string) {
	switch {
	case strings.HasPrefix(key, "blobs/"):
		j.readBlob(key)
	case strings.HasPrefix(key, "repos/"):
		var n nameState
		if b := j.raw(key); b != nil {
			n.exists = json.Unmarshal(b, &n) == nil
		}
		old := j.names[key]
		if old.exists && !n.exists {
			j.counts["name's tombstone removed"]++
			if !old.Gone {
				j.wrongLocked("%s was removed while it was live", key)
			}
		}
		j.names[key] = n
		if m := j.manifests[key]; m != nil && old.exists && !old.Gone && n.Gone {
			if m.went++; m.went > m.mayGo {
				j.wrongLocked("manifest %s of %s was removed %d times, and %d were to remove it", short(m.digest), m.repo, m.went, m.mayGo)
			}
		}
	case strings.HasPrefix(key, "data/"):
		_, err := j.w.bucket.Stat(context.Background(), key)
		id := strings.TrimPrefix(key, "data/")
		if j.data[id] && err != nil {
			j.counts["data deleted"]++
		}
		j.data[id] = err == nil
	}
}

func (j *judge) readBlob(key string) {
	parts := strings.Split(key, "/")
	d := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[3])
	var n blobState
	if b := j.raw(key); b != nil {
		n.exists = json.Unmarshal(b, &n) == nil
	}
	old := j.blobs[d]
	n.life, n.since = old.life, old.since
	if n.State == "condemned" && old.State != "condemned" {
		n.since = len(j.w.trace)
	}
	if n.State == "gone" && old.State == "condemned" && j.by > 0 && n.since > j.by && !j.w.config.Patient {
		j.wrongLocked("%s was condemned after the mark began that takes it", short(d))
	}
	there := func(b blobState) bool { return b.exists && b.State != "gone" }
	if !there(old) && there(n) {
		n.life++
		for h, holding := range j.holders {
			if h.blob == d && holding.busy > 0 {
				holding.lives[n.life] = true
			}
		}
	}
	switch {
	case old.State == "live" && n.State == "condemned":
		j.counts["condemned"]++
	case old.State == "condemned" && n.State == "live":
		j.counts["revived"]++
	case old.State == "condemned" && n.State == "gone":
		j.counts["gone"]++
	case old.State == "gone" && n.State == "live":
		j.counts["uploaded again after gone"]++
	case old.State == "gone" && !n.exists:
		j.counts["blob's tombstone removed"]++
	case there(old) && n.State == "gone":
		j.wrongLocked("%s went from %s to gone", d, old.State)
	case there(old) && !n.exists:
		j.wrongLocked("the record of %s was removed while it was %s", d, old.State)
	}
	if len(old.Drop)+len(old.Copies) > 0 && n.exists && n.State == "gone" && len(n.Drop)+len(n.Copies) == 0 {
		j.counts["drained"]++
	}
	if n.exists && len(n.Barred) > len(old.Barred) {
		j.counts["barred"]++
	}
	j.blobs[d] = n
}

// readable says why a blob cannot be read, "" if it can. The lock is held.
func (j *judge) unreadable(d digest.Digest) string {
	b := j.blobs[d]
	switch {
	case !b.exists:
		return "it has no record"
	case b.State == "gone":
		return "it is gone"
	case b.Inline != nil:
		return ""
	case len(b.Copies) == 0:
		return "it has no copy"
	}
	for _, id := range b.Copies {
		if !j.data[id] {
			return "its data " + id + " was deleted"
		}
	}
	return ""
}

// check says what is wrong when all is quiet, "" if nothing is.
func (j *judge) check() string {
	synctest.Wait()
	late := map[string]bool{}
	for _, c := range j.w.late {
		for _, key := range c.keys {
			late[key] = true
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, m := range j.manifests {
		if !m.certain || late[key] {
			continue
		}
		if n := j.names[key]; !n.exists || n.Gone {
			j.wrongLocked("manifest %s of %s was acknowledged, and has no link", short(m.digest), m.repo)
		}
		for _, d := range closure(m.digest) {
			if why := j.unreadable(d); why != "" {
				j.wrongLocked("manifest %s of %s was acknowledged, and %s cannot be read: %s", short(m.digest), m.repo, short(d), why)
			}
		}
	}
	for key, t := range j.tags {
		mkey := images.ManifestKey(t.repo, t.digest)
		if !t.certain || late[key] || late[mkey] {
			continue
		}
		if n, l := j.names[key], j.names[mkey]; !n.exists || n.Gone || n.Digest != t.digest || n.Generation != l.Generation || l.Gone {
			j.wrongLocked("tag %s was acknowledged for %s, and does not name it", key, short(t.digest))
		}
	}
	j.checkHeld(late)
	earliest := time.Now().Round(0).Add(-Skew / 2)
	for d, until := range j.promised {
		if earliest.Before(until) {
			if why := j.unreadable(d); why != "" {
				j.wrongLocked("%s is promised until %v, and cannot be read at %v: %s", short(d), until, earliest, why)
			}
		}
	}
	for d, b := range j.blobs {
		if b.exists && b.State != "gone" && b.Inline == nil && b.Size > 0 {
			if why := j.unreadable(d); why != "" {
				j.wrongLocked("%s is %s, but %s", short(d), b.State, why)
			}
		}
	}
	return j.broken
}

func short(d digest.Digest) string { return nameOf(d) }
