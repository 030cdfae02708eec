package schedule

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// promise takes in what an answer promised. Fresh ones have three quarters of
// the grace left when they are given.
func (j *judge) promise(p *Process, b blobstore.Blob, fresh bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if left := b.Promised.Sub(p.Now()); fresh && left < Grace/4*3-Skew {
		j.wrongLocked("%s was promised for %v only", short(b.Digest), left)
	}
	if b.Promised.After(j.promised[b.Digest]) {
		j.promised[b.Digest] = b.Promised
	}
}

func (j *judge) manifest(repo reference.Repository, d digest.Digest) *claim {
	key := images.ManifestKey(repo, d)
	if j.manifests[key] == nil {
		j.manifests[key] = &claim{repo: repo, digest: d}
	}
	return j.manifests[key]
}

// puts notes that somebody puts a manifest until done is called. A put that
// fails may take back its link.
func (j *judge) puts(repo reference.Repository, d digest.Digest) (done func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.manifest(repo, d)
	m.mayGo++
	m.puts++
	m.putting++
	m.gone = false
	return func(err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		m.putting--
		if err == nil {
			m.mayGo--
			m.certain = m.busy == 0
			j.counts["manifest acknowledged"]++
		}
	}
}

// holds notes that a repository was told that it has a blob.
func (j *judge) holds(repo reference.Repository, b blobstore.Blob) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := blobstore.BlobLinkKey(repo, b.Digest)
	if j.held[key] == nil {
		j.held[key] = &claim{repo: repo, digest: b.Digest}
	}
	h := j.held[key]
	if h.certain = h.busy == 0; b.Promised.After(h.until) {
		h.until = b.Promised
	}
}

// unlinks notes that a repository gives up a blob until done is called.
func (j *judge) unlinks(repo reference.Repository, d digest.Digest) (done func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := blobstore.BlobLinkKey(repo, d)
	if j.held[key] == nil {
		j.held[key] = &claim{repo: repo, digest: d}
	}
	h := j.held[key]
	h.busy++
	h.certain, h.until = false, time.Time{}
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		h.busy--
	}
}

// checkHeld looks whether repositories hold what they were told. The lock is held.
func (j *judge) checkHeld(late map[string]bool) {
	earliest := time.Now().Round(0).Add(-Skew / 2)
	for key, h := range j.held {
		if n, b := j.names[key], j.blobs[h.digest]; h.certain && !late[key] && earliest.Before(h.until) && (!n.exists || n.Gone || n.Payload.Life != b.Life) {
			j.wrongLocked("%s was told that it holds %s until %v, and its link is %+v", h.repo, short(h.digest), h.until, n)
		}
	}
}

// deletes notes that somebody deletes a manifest until done is called. Then its
// tags are gone too, but for those that have been written since.
func (j *judge) deletes(repo reference.Repository, d digest.Digest) (done func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.manifest(repo, d)
	m.busy++
	m.mayGo++
	j.unsure(m)
	puts, before := m.puts, map[*claim]int{}
	for _, t := range j.tags {
		if t.repo == repo && t.digest == d && t.busy == 0 {
			before[t] = t.writes
		}
	}
	return func(err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		m.busy--
		m.gone = err == nil && m.puts == puts && m.putting == 0
		for t, n := range before {
			if err == nil && t.writes == n && t.digest == d {
				t.absent = true
			}
		}
	}
}

// writes notes that somebody changes a tag until done is called, with what it
// names if that is certain.
func (j *judge) writes(repo reference.Repository, tag reference.Tag) (done func(d digest.Digest, ok bool)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := "repos/" + string(repo) + "/_tags/" + string(tag)
	t := j.tags[key]
	if t == nil {
		t = &claim{repo: repo}
		j.tags[key] = t
	}
	t.busy++
	t.writes++
	t.digest = "" // nobody knows
	t.certain, t.absent, t.overlap = false, false, t.overlap || t.busy > 1
	return func(d digest.Digest, ok bool) {
		j.mu.Lock()
		defer j.mu.Unlock()
		t.busy--
		if ok && d != "" && j.manifest(repo, d).gone {
			j.wrongLocked("%s was acknowledged for %s, whose deletion had been acknowledged before", key, short(d))
		}
		if ok && !t.overlap && d != "" && j.manifest(repo, d).certain {
			t.digest, t.certain = d, true
			j.counts["tag acknowledged"]++
		}
		t.overlap = t.overlap && t.busy > 0
	}
}

// comesBy notes that a repository uploads or mounts a blob until done is called.
func (j *judge) comesBy(repo reference.Repository, d digest.Digest) (done func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	h := hold{repo, d}
	if j.holders[h] == nil {
		j.holders[h] = &holding{lives: map[int]bool{}}
	}
	j.holders[h].busy++
	j.holders[h].lives[j.blobs[d].life] = true
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.holders[h].busy--
	}
}

// life is which life a blob is in.
func (j *judge) life(d digest.Digest) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.blobs[d].life
}

// wall looks whether a repository that was told of a blob has come by it in one
// of its lives since that one.
func (j *judge) wall(repo reference.Repository, d digest.Digest, since int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	h := j.holders[hold{repo, d}]
	for life := since; life <= j.blobs[d].life; life++ {
		if h != nil && h.lives[life] {
			return
		}
	}
	j.wrongLocked("%s was told of %s, which only others have uploaded in its life %d", repo, short(d), j.blobs[d].life)
}

// walls says whether a repository reads a blob that it did not come by in this
// life of the blob. p asks; its calls must not stop.
func (j *judge) walls(p *Process) {
	for _, repo := range repositories {
		for _, b := range library {
			holds, err := p.Store.HoldsBlob(context.Background(), repo, b.digest)
			if err != nil {
				j.wrong("does %s hold %s: %v", repo, b.name, err)
			}
			j.mu.Lock()
			h, s := j.holders[hold{repo, b.digest}], j.blobs[b.digest]
			if holds && s.exists && s.State != "gone" && (h == nil || !h.lives[s.life]) {
				j.wrongLocked("%s holds %s, which only others have uploaded in its life %d", repo, b.name, s.life)
			}
			j.mu.Unlock()
		}
	}
}

// acknowledged yields the manifests that must be there now.
func (j *judge) acknowledged() (cs []claim) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.manifests {
		if m.certain {
			cs = append(cs, *m)
		}
	}
	slices.SortFunc(cs, func(a, b claim) int {
		return strings.Compare(string(a.repo+"@")+string(a.digest), string(b.repo+"@")+string(b.digest))
	})
	return cs
}

// damage says whether err is of a read that met what it must not.
func damage(err error) bool { return errors.Is(err, blobstore.ErrCorrupt) }
