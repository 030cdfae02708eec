package images_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

func hint(s string) string { return "repos/demo/app/" + s }

// MODEL, T1: a tag is written for a manifest that has just been deleted. It
// must not be acknowledged, must lead nowhere, and what it replaced comes back.
func TestTagStoppedWhileItsManifestIsDeleted(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	old, a := layered("old", 1), layered("a", 1)
	s.push(t, repo, old, "was")
	s.push(t, repo, a)
	for tag, before := range map[reference.Tag]digest.Digest{"new": "", "was": old.Digest} {
		t.Run(string(tag), func(t *testing.T) {
			s2.push(t, repo, a)
			hook, stopped, goOn := stop(hint("_tags/"))
			w.tricky.Set(hook)
			defer w.tricky.Set(nil)
			tagged := make(chan error)
			go func() { tagged <- s.Tag(t.Context(), repo, tag, a.Digest, images.Expect{}) }()
			<-stopped
			if err := s2.Delete(t.Context(), repo, a.Digest); err != nil {
				t.Error(err)
			}
			close(goOn)
			if err := <-tagged; !errors.Is(err, blobstore.ErrManifestUnknown) {
				t.Errorf("tag: %v", err)
			}
			for _, srv := range []*server{s, s2} {
				if got := srv.names(t, repo, tag); got != before {
					t.Errorf("it names %q, not %q", got, before)
				}
				if _, listed := srv.tags(t, repo, "")[tag]; listed != (before != "") {
					t.Errorf("listed: %v", listed)
				}
			}
		})
	}
}

// MODEL, T3: a manifest that is pushed again while it is deleted is there in
// the end, whoever was first, if the push was acknowledged last.
func TestPutStoppedWhileItsManifestIsDeleted(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a := layered("a", 1)
	s.push(t, repo, a)
	hook, stopped, goOn := stop(hint("_tags/"))
	w.tricky.Set(hook)
	defer w.tricky.Set(nil)
	put := make(chan error)
	go func() {
		_, err := s.put(repo, a, "1")
		put <- err
	}()
	<-stopped
	if err := s2.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Error(err)
	}
	close(goOn)
	if err := <-put; err != nil {
		t.Errorf("put: %v", err)
	}
	for _, srv := range []*server{s, s2} {
		if srv.names(t, repo, "1") != a.Digest || len(srv.tags(t, repo, "")) != 1 {
			t.Errorf("it names %q", srv.names(t, repo, "1"))
		}
	}
}

// MODEL, hole 5 and T2: a write that was stopped does not replace what was
// written, and acknowledged, after the manifest it is for was deleted.
func TestLateTagDoesNotReplaceANewerOne(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a, b := layered("a", 1), layered("b", 1)
	s.push(t, repo, a)
	s.push(t, repo, b, "1")
	hook, stopped, goOn := stop(hint("_tags/"))
	w.tricky.Set(hook)
	defer w.tricky.Set(nil)
	tagged := make(chan error)
	go func() { tagged <- s.Tag(t.Context(), repo, "1", a.Digest, images.Expect{}) }()
	<-stopped
	if err := s2.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Error(err)
	}
	c := layered("c", 1)
	s2.push(t, repo, c, "1")
	close(goOn)
	if err := <-tagged; !errors.Is(err, blobstore.ErrManifestUnknown) {
		t.Errorf("tag: %v", err)
	}
	if s.names(t, repo, "1") != c.Digest || s2.names(t, repo, "1") != c.Digest {
		t.Errorf("it names %q", s.names(t, repo, "1"))
	}
}

// MODEL, B1 and B2, hole 6: the answer to a DELETE is lost, the manifest is
// pushed again, and then the client below sends its request once more.
func TestDeleteThatIsRetriedSparesARepush(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a := layered("a", 1)
	s.push(t, repo, a, "1")
	first := true
	w.tricky.Set(func(op, key string, pass func() error) error {
		err := pass()
		if op == "put" && strings.HasPrefix(key, hint("_manifests/")) && first {
			first = false
			w.clock.Turn(lease) // s2 holds the link no longer
			s2.push(t, repo, a, "1")
			err = pass()
		}
		return err
	})
	if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Errorf("delete: %v", err)
	}
	w.tricky.Set(nil)
	for _, srv := range []*server{s, s2} {
		if srv.names(t, repo, "1") != a.Digest || !srv.has(t, repo, a.Digest) {
			t.Error("the push was acknowledged, and it is gone")
		}
	}
}

// An answer that was lost is no reason to say that somebody else was faster.
func TestLostAnswers(t *testing.T) {
	for _, lost := range []string{"blobs/", hint("_manifests/"), hint("_tags/"), "catalog/"} {
		t.Run(lost, func(t *testing.T) {
			s, w := newServer(t)
			a := layered("a", 1)
			storetest.PushBlobs(t, s.store, repo, a)
			w.tricky.Set(func(op, key string, pass func() error) error {
				err := pass()
				if err == nil && op == "put" && strings.HasPrefix(key, lost) {
					return pass() // the client below tries again, and meets its own
				}
				return err
			})
			o := images.PutOptions{MediaType: a.MediaType, Bytes: a.Manifest, Tags: []reference.Tag{"1"}, Expect: images.ExpectAbsent()}
			if _, err := s.Put(t.Context(), repo, o); err != nil {
				t.Errorf("put: %v", err)
			}
			if err := s.Tag(t.Context(), repo, "1", a.Digest, images.ExpectDigest(a.Digest)); err != nil {
				t.Errorf("tag: %v", err)
			}
			if err := s.Untag(t.Context(), repo, "1"); err != nil {
				t.Errorf("untag: %v", err)
			}
			if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// MODEL, hole 4: the link lands when the promises have ended. Where something
// has been collected meanwhile, nobody sees the manifest; where not, all is
// promised anew before the tag is written.
func TestLinkThatLandsTooLate(t *testing.T) {
	for _, patient := range []bool{false, true} { // a bucket that does not refuse late writes
		for _, gone := range []bool{false, true} {
			name := map[bool]string{false: "refusing", true: "patient"}[patient] + map[bool]string{false: ", all there", true: ", something gone"}[gone]
			t.Run(name, func(t *testing.T) {
				w := newWorld()
				if patient {
					w.bucket = count.New(storetest.Patient{Bucket: w.tricky})
				}
				s := w.server(t, images.Options{})
				a := layered("a", 2)
				storetest.PushBlobs(t, s.store, repo, a)
				hook, stopped, goOn := stop(hint("_manifests/"))
				w.tricky.Set(hook)
				put := make(chan error)
				go func() {
					_, err := s.put(repo, a, "1")
					put <- err
				}()
				<-stopped
				w.clock.Turn(2 * grace)
				if gone {
					w.collect(t, a.Layers[1])
				}
				close(goOn)
				err := <-put
				w.tricky.Set(nil)
				srv := w.server(t, images.Options{})
				if gone {
					if !errors.Is(err, blobstore.ErrManifestBlobUnknown) {
						t.Errorf("put: %v", err)
					}
					if srv.has(t, repo, a.Digest) || srv.names(t, repo, "1") != "" {
						t.Error("the manifest can be seen")
					}
					return
				}
				if err != nil || srv.names(t, repo, "1") != a.Digest {
					t.Errorf("put: %v", err)
				}
				for d := range a.Blobs {
					var r struct{ Promise time.Time }
					readJSON(t, w.tricky, blobstore.BlobKey(d), &r)
					if r.Promise.Sub(w.clock.Now()) < grace/4*3 {
						t.Errorf("%s is promised until %v, at %v", d, r.Promise, w.clock.Now())
					}
				}
			})
		}
	}
}

// MODEL, hole 2: a promise in the cache that is near its end is no licence.
func TestCachedPromiseNearItsEndIsRenewed(t *testing.T) {
	s, w := newServer(t)
	a := layered("a", 1)
	storetest.PushBlobs(t, s.store, repo, a)
	w.clock.Turn(grace/4 + time.Minute)
	if _, err := s.put(repo, a, "1"); err != nil {
		t.Fatal(err)
	}
	for d := range a.Blobs {
		var r struct{ Promise time.Time }
		readJSON(t, w.tricky, blobstore.BlobKey(d), &r)
		if r.Promise.Sub(w.clock.Now()) < grace/4*3 {
			t.Errorf("%s is promised until %v, at %v", d, r.Promise, w.clock.Now())
		}
	}
}

// A server that holds a link knows of its end when the deletion is answered.
func TestDeletionIsSeenByAllWhenItIsAnswered(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a := layered("a", 1)
	s.push(t, repo, a, "1")
	for range 3 {
		if s2.names(t, repo, "1") != a.Digest || !s2.has(t, repo, a.Digest) {
			t.Fatal("it is not there")
		}
		if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
			t.Fatal(err)
		}
		if s2.names(t, repo, "1") != "" || s2.has(t, repo, a.Digest) {
			t.Fatal("it is there on the other server")
		}
		s2.push(t, repo, a, "1")
	}
}

// A tag that is moved, and whose former manifest is deleted, between the two
// reads of a GET was there all the time.
func TestTagThatMovesUnderAReader(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a, b := layered("a", 1), layered("b", 1)
	s.push(t, repo, a, "1")
	s.push(t, repo, b)
	w.clock.Turn(2 * lease)
	var once sync.Once
	w.tricky.Set(func(op, key string, pass func() error) error {
		err := pass()
		if op == "get" && strings.HasPrefix(key, hint("_tags/")) {
			once.Do(func() {
				if err := s.Tag(t.Context(), repo, "1", b.Digest, images.Expect{}); err != nil {
					t.Error(err)
				}
				if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
					t.Error(err)
				}
			})
		}
		return err
	})
	defer w.tricky.Set(nil)
	if got := s2.names(t, repo, "1"); got != b.Digest {
		t.Errorf("it names %q", got)
	}
}

// Everything at once, on several servers: what was acknowledged last is there.
func TestTurmoil(t *testing.T) {
	w := newWorld()
	is := []storetest.Image{layered("a", 1), layered("b", 1), layered("c", 1)}
	first := w.server(t, images.Options{})
	for _, i := range is {
		storetest.PushBlobs(t, first.store, repo, i)
	}
	var all sync.WaitGroup
	for n := range 4 {
		s := w.server(t, images.Options{})
		all.Go(func() {
			for round := range 15 {
				i := is[(n+round)%len(is)]
				switch _, err := s.put(repo, i, "1"); {
				case errors.Is(err, blobstore.ErrConflict):
				case err != nil:
					t.Errorf("put: %v", err)
				}
				if n%2 == 0 {
					if err := s.Delete(t.Context(), repo, i.Digest); err != nil && !errors.Is(err, blobstore.ErrManifestUnknown) {
						t.Errorf("delete: %v", err)
					}
				}
				for info, err := range s.Tags(t.Context(), repo, "") {
					if err != nil {
						t.Errorf("tags: %v", err)
					} else if info.Digest != info.Summary.Digest {
						t.Errorf("tags: %+v", info)
					}
				}
			}
		})
	}
	all.Wait()
	if _, err := first.put(repo, is[0], "1"); err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*server{first, w.server(t, images.Options{})} {
		if srv.names(t, repo, "1") != is[0].Digest {
			t.Error("the last push is not there")
		}
	}
}

// A tag may be newer than the link that a server holds.
func TestTagThatIsNewerThanTheLinkHeld(t *testing.T) {
	s, w := newServer(t)
	s2, s3 := w.server(t, images.Options{}), w.server(t, images.Options{})
	a := layered("a", 1)
	s.push(t, repo, a, "1")
	if s2.names(t, repo, "1") != a.Digest {
		t.Fatal("it is not there")
	}
	first := true
	w.tricky.Set(func(op, key string, pass func() error) error {
		err := pass()
		if op == "put" && strings.HasPrefix(key, hint("_manifests/")) && first {
			first = false // the link is gone, and s has not yet waited out the leases
			s3.push(t, repo, a, "1")
			if got := s2.names(t, repo, "1"); got != a.Digest {
				t.Errorf("it names %q", got)
			}
		}
		return err
	})
	defer w.tricky.Set(nil)
	if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Error(err)
	}
}

// The take-back of a link that landed too late leaves one alone that was made
// since.
func TestTakeBackSparesAnotherGeneration(t *testing.T) {
	s, w := newServer(t)
	a := layered("a", 1)
	s.push(t, repo, a, "1")
	key := images.ManifestKey(repo, a.Digest)
	if err := s.store.Links().RemoveGeneration(t.Context(), key, "another"); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if w.server(t, images.Options{}).names(t, repo, "1") != a.Digest {
		t.Error("it is gone")
	}
}
