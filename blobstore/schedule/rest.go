package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

type (
	repository = reference.Repository
	tagName    = reference.Tag
)

// rest is when nothing is under way any more: what was acknowledged must be
// there, on a server that knows nothing yet, before and after a collector has
// had its time, and what nothing names must not.
func (w *World) rest() {
	if w.judge.check() != "" {
		return
	}
	w.inspect()
	p := w.Start("collector", 0)
	p.free = true
	for range 10 {
		w.wait(40 * time.Hour)
		if err := p.Collect(context.Background(), true); err != nil {
			w.judge.wrong("a cycle with nobody else at work: %v", err)
		}
		if w.judge.check() != "" {
			return
		}
	}
	w.inspect()
	w.garbage()
}

// inspect reads back, on a server that knows nothing yet, all that was
// acknowledged, to its last byte.
func (w *World) inspect() {
	p := w.Start("reader", 0)
	p.free = true
	ctx := context.Background()
	for _, m := range w.judge.acknowledged() {
		got, err := p.Images.Get(ctx, m.repo, reference.Locator{Digest: m.digest})
		if err != nil || !bytes.Equal(got.Bytes, image(m.digest).bytes) {
			w.judge.wrong("manifest %s of %s was acknowledged: %v", nameOf(m.digest), m.repo, err)
			continue
		}
		for _, d := range closure(m.digest) {
			if _, err := p.Store.ReadAll(ctx, d, 1<<20); err != nil {
				w.judge.wrong("manifest %s of %s was acknowledged: %s: %v", nameOf(m.digest), m.repo, nameOf(d), err)
			}
		}
	}
	for _, t := range w.judge.acknowledgedTags() {
		if d, err := p.Images.Resolve(ctx, t.repo, reference.Locator{Tag: t.tag}); err != nil || d.Digest != t.digest {
			w.judge.wrong("tag %s:%s was acknowledged for %s: it names %s, %v", t.repo, t.tag, nameOf(t.digest), nameOf(d.Digest), err)
		}
	}
	for _, t := range w.judge.deletedTags() {
		if d, err := p.Images.Resolve(ctx, t.repo, reference.Locator{Tag: t.tag}); err == nil {
			w.judge.wrong("tag %s:%s names %s, which was deleted since", t.repo, t.tag, nameOf(d.Digest))
		}
	}
	w.judge.walls(p)
}

type tagClaim struct {
	claim
	tag reference.Tag
}

// acknowledgedTags are those that must name something.
func (j *judge) acknowledgedTags() []tagClaim {
	return j.tagsThat(func(t *claim) bool { return t.certain })
}

// deletedTags are those that must name nothing.
func (j *judge) deletedTags() []tagClaim { return j.tagsThat(func(t *claim) bool { return t.absent }) }

func (j *judge) tagsThat(are func(*claim) bool) (ts []tagClaim) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, t := range j.tags {
		if are(t) {
			ts = append(ts, tagClaim{*t, reference.Tag(key[strings.LastIndexByte(key, '/')+1:])})
		}
	}
	return ts
}

// garbage says what is in the bucket that nothing names, when nobody has worked
// on it but a collector for a long time.
func (w *World) garbage() {
	ctx := context.Background()
	named := map[digest.Digest]bool{}
	for info := range w.bucket.List(ctx, "repos/", "") {
		repo, d, ok := strings.Cut(strings.TrimPrefix(info.Key, "repos/"), "/_manifests/")
		var n nameState
		_ = json.Unmarshal(w.judge.raw(info.Key), &n)
		if n.Gone && !w.config.Patient {
			w.judge.wrong("the tombstone %s stays for ever", info.Key)
		}
		if ok && !n.Gone && repo != "" {
			for _, d := range closure(digest.Digest(d)) {
				named[d] = true
			}
		}
	}
	data := map[string]bool{}
	for info := range w.bucket.List(ctx, "blobs/", "") {
		var b struct {
			Digest digest.Digest
			State  string
			Copies []string
			Drop   []json.RawMessage
			Bad    []string
		}
		_ = json.Unmarshal(w.judge.raw(info.Key), &b)
		switch {
		case b.State == "gone" && len(b.Copies)+len(b.Drop)+len(b.Bad) == 0 && w.config.Patient:
		case b.State == "gone":
			w.judge.wrong("the tombstone %s stays for ever", nameOf(b.Digest))
		case !named[b.Digest]:
			w.judge.wrong("%s is %s for ever, and nothing names it", nameOf(b.Digest), b.State)
		case len(b.Drop) > 0:
			w.judge.wrong("%s keeps for ever what it must drop: %s", nameOf(b.Digest), b.Drop)
		}
		for _, id := range b.Copies {
			data[id] = true
		}
	}
	for info := range w.bucket.List(ctx, "data/", "") {
		if !data[strings.TrimPrefix(info.Key, "data/")] {
			w.judge.wrong("%s stays for ever, and no record names it", info.Key)
		}
	}
	for info := range w.bucket.List(ctx, "uploads/", "") {
		w.judge.wrong("%s stays for ever", info.Key)
	}
}
