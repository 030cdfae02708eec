package retain_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/retain"
	"github.com/laminastore/lamina/reference"
)

// Whatever somebody names on another server while the rules are applied, before
// any of the calls to the bucket that this takes: what was acknowledged is there
// afterwards, with all that it names.
func TestWhatIsNamedMeanwhileIsKept(t *testing.T) {
	p := rule(t, "keep-last = 1\nkeep-tags = [\"new\"]\nuntagged-after = \"7d\"")
	tagOld := func(w *world, im *images.Images, _ *blobstore.Store) error {
		return im.Tag(t.Context(), repo, "new", w.named["old"].Digest, images.Expect{})
	}
	for name, c := range map[string]struct {
		act   func(w *world, im *images.Images, s *blobstore.Store) error
		tag   reference.Tag // that must name image then; "": the image must be there
		image string
		also  string // must be there too
	}{
		"the tag is moved": {func(w *world, im *images.Images, s *blobstore.Store) error {
			return w.push(im, s, "other", "goes")
		}, "goes", "other", ""},
		"an old manifest is tagged": {tagOld, "new", "old", ""},
		"an old manifest is pushed again": {func(w *world, im *images.Images, s *blobstore.Store) error {
			return w.push(im, s, "old")
		}, "", "old", ""},
		"an old manifest is pushed again with a tag": {func(w *world, im *images.Images, s *blobstore.Store) error {
			return w.push(im, s, "old", "new")
		}, "new", "old", ""},
		"an index of old manifests is pushed": {func(w *world, im *images.Images, s *blobstore.Store) error {
			return w.push(im, s, "index", "new")
		}, "new", "index", "old"},
		"an old index is tagged": {func(w *world, im *images.Images, _ *blobstore.Store) error {
			return im.Tag(t.Context(), repo, "new", w.named["old index"].Digest, images.Expect{})
		}, "new", "old index", "child"},
		"an old referrer's subject is tagged": {tagOld, "new", "old", "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			done := false
			for call := 0; !done; call++ {
				w := newWorld(t)
				w.image("old")
				w.referrer("signature", "old")
				w.image("child")
				w.index("old index", "child")
				w.days(30)
				w.image("first", "goes")
				w.image("second", "stays")
				w.days(1)
				w.image("last", "last")
				w.make("other", "")
				w.make("index", "", "old", "child")
				s, im, _ := w.server()
				var calls atomic.Int32 // some are made at once
				acked := false
				w.bucket.Set(func(op, key string, pass func() error) error {
					if calls.Add(1) == int32(call)+1 {
						w.bucket.Set(nil) // the client's own calls are not counted
						err := c.act(w, im, s)
						acked = err == nil
						if err != nil && !errors.Is(err, blobstore.ErrManifestUnknown) && !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
							t.Errorf("call %d: %v", call, err)
						}
					}
					return pass()
				})
				w.apply(p, false)
				w.bucket.Set(nil)
				done = int(calls.Load()) <= call
				if !acked {
					continue
				}
				at := fmt.Sprintf("before call %d", call)
				w.check(at, c.tag, c.image)
				if c.also != "" {
					w.check(at, "", c.also)
				}
			}
		})
	}
}

// check sees to it that a server without caches has an image, by its tag or by
// its digest.
func (w *world) check(at string, tag reference.Tag, name string) {
	w.t.Helper()
	_, im, _ := w.server()
	l := reference.Locator{Tag: tag}
	if tag == "" {
		l.Digest = w.named[name].Digest
	}
	if d, err := im.Resolve(w.t.Context(), repo, l); err != nil || d.Digest != w.named[name].Digest {
		w.t.Errorf("%s: %s is %s (%s), %v", at, l, w.names[d.Digest], name, err)
	}
}

// Several servers push and move one tag while two apply a rule that removes it
// as often as it can: a push that was acknowledged last is there.
func TestPushesOfOneTagAndRetentionAtOnce(t *testing.T) {
	w := newWorld(t)
	const servers, pushes = 3, 15
	for i := range servers * pushes {
		w.make(fmt.Sprint(i), "")
	}
	w.image("keeps the last place", "zz")
	p := rule(t, "keep-tags = [\"zz\"]\nuntagged-after = \"1h\"")
	var all, pushing sync.WaitGroup
	for n := range servers {
		s, im, _ := w.server()
		pushing.Go(func() {
			for i := range pushes {
				if err := w.push(im, s, fmt.Sprint(n*pushes+i), "t"); err != nil {
					t.Errorf("push: %v", err)
				}
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := w.retainer(p).Apply(t.Context(), false, func(retain.Finding) {}); err != nil {
						t.Errorf("apply: %v", err)
						return
					}
				}
			}
		})
	}
	pushing.Wait()
	close(stop)
	all.Wait()
	w.must(w.push(w.images, w.store, "0", "t"))
	w.check("at the end", "t", "0")
	w.apply(p, false)
	if tags, _ := w.there(); tags != "zz" {
		t.Errorf("left: %s", tags)
	}
}

// When the bucket fails on the way, what is left is as it was or is gone, and
// the next pass goes on.
func TestAPassThatFailsIsDoneAgain(t *testing.T) {
	p := rule(t, "keep-tags = [\"zz\"]\nuntagged-after = \"7d\"")
	var calls atomic.Int32 // some are made at once
	calls.Store(1)
	for fails := int32(0); fails < calls.Load(); fails++ {
		w := newWorld(t)
		w.image("a")
		w.index("i", "a")
		w.image("b", "1", "zz")
		w.days(30)
		broken := errors.New("the bucket is broken")
		calls.Store(0)
		w.bucket.Set(func(op, key string, pass func() error) error {
			if calls.Add(1) == fails+1 {
				return errors.Join(broken, pass()) // it happened, and nobody knows
			}
			return pass()
		})
		err := w.retainer(p).Apply(t.Context(), false, func(retain.Finding) {})
		w.bucket.Set(nil)
		if err == nil {
			t.Errorf("call %d of %d failed, and nobody was told", fails, calls.Load())
		}
		w.days(1)
		w.apply(p, false)
		if tags, left := w.there(); tags != "zz" || left != "b" {
			t.Errorf("after call %d failed: %q and %q", fails, tags, left)
		}
	}
}
