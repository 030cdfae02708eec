package images_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

func TestTagMoves(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a, b := layered("a", 1), layered("b", 1)
	s.push(t, repo, a, "1")
	s.push(t, repo, b)
	for _, srv := range []*server{s, s2, s, s2} {
		for _, d := range []digest.Digest{b.Digest, a.Digest} {
			if err := srv.Tag(t.Context(), repo, "1", d, images.Expect{}); err != nil {
				t.Fatal(err)
			}
			if got, got2 := s.names(t, repo, "1"), s2.names(t, repo, "1"); got != d || got2 != d {
				t.Fatalf("it names %s and %s, not %s", got, got2, d)
			}
		}
	}
	if err := s.Tag(t.Context(), repo, "1", digest.FromString("none"), images.Expect{}); !errors.Is(err, blobstore.ErrManifestUnknown) {
		t.Errorf("to a manifest that is not there: %v", err)
	}
	if s.names(t, repo, "1") != a.Digest {
		t.Error("the tag has changed")
	}
}

func TestExpect(t *testing.T) {
	s, w := newServer(t)
	a, b, c := layered("a", 1), layered("b", 1), layered("c", 1)
	s.push(t, repo, a, "a", "gone", "dangling")
	s.push(t, repo, b)
	s.push(t, repo, c, "dangling")
	if err := s.Untag(t.Context(), repo, "gone"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), repo, c.Digest); err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		tag    reference.Tag
		expect images.Expect
		actual string // of the conflict; "" for none
	}{
		{"a", images.ExpectAbsent(), string(a.Digest)},
		{"a", images.ExpectDigest(b.Digest), string(a.Digest)},
		{"new", images.ExpectDigest(a.Digest), "absent"},
		{"gone", images.ExpectDigest(a.Digest), "absent"},
		{"dangling", images.ExpectDigest(c.Digest), "absent"},
		{"a", images.ExpectDigest(a.Digest), ""},
		{"new", images.ExpectAbsent(), ""},
		{"gone", images.ExpectAbsent(), ""},
		{"dangling", images.ExpectAbsent(), ""},
		{"a", images.ExpectDigest(""), ""},
	} {
		for _, put := range []bool{false, true} {
			t.Run(fmt.Sprint(try.tag, try.expect, put), func(t *testing.T) {
				srv := w.server(t, images.Options{})
				before := srv.names(t, repo, try.tag)
				var err error
				if put {
					_, err = srv.Put(t.Context(), repo, images.PutOptions{MediaType: b.MediaType, Bytes: b.Manifest, Tags: []reference.Tag{try.tag}, Expect: try.expect})
				} else {
					err = srv.Tag(t.Context(), repo, try.tag, b.Digest, try.expect)
				}
				if try.actual == "" {
					if err != nil || srv.names(t, repo, try.tag) != b.Digest {
						t.Fatalf("%v, it names %s", err, srv.names(t, repo, try.tag))
					}
					// As it was, for the other way.
					if before == "" {
						err = srv.Untag(t.Context(), repo, try.tag)
					} else {
						err = srv.Tag(t.Context(), repo, try.tag, before, images.Expect{})
					}
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				e, ok := errors.AsType[*blobstore.Error](err)
				if !ok || !errors.Is(err, blobstore.ErrTagConflict) || e.Facts["actual"] != try.actual {
					t.Errorf("error %v", err)
				}
				if now := srv.names(t, repo, try.tag); now != before {
					t.Errorf("it names %s", now)
				}
			})
		}
	}
}

// Several writers that each add to what the tag named: none overwrites another.
func TestExpectSerializesWriters(t *testing.T) {
	w := newWorld()
	const writers, rounds = 3, 5
	s := w.server(t, images.Options{})
	var ds []digest.Digest
	for i := range writers*rounds + 1 {
		ds = append(ds, s.push(t, repo, layered(fmt.Sprint(i), 1)).Digest)
	}
	if err := s.Tag(t.Context(), repo, "1", ds[0], images.ExpectAbsent()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range writers {
		srv := w.server(t, images.Options{})
		all.Go(func() {
			for done := 0; done < rounds; {
				now := srv.names(t, repo, "1")
				next := ds[slices.Index(ds, now)+1]
				err := srv.Tag(t.Context(), repo, "1", next, images.ExpectDigest(now))
				if err == nil {
					done++
				} else if !errors.Is(err, blobstore.ErrTagConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := s.names(t, repo, "1"); got != ds[len(ds)-1] {
		t.Errorf("after %d steps it is at step %d", len(ds)-1, slices.Index(ds, got))
	}
}

func TestUntag(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a := layered("a", 1)
	s.push(t, repo, a, "1", "2")
	for _, srv := range []*server{s, s2} { // whoever knows or does not
		if err := srv.Untag(t.Context(), repo, "1"); err != nil {
			t.Fatal(err)
		}
		if err := srv.Untag(t.Context(), repo, "1"); !errors.Is(err, blobstore.ErrManifestUnknown) {
			t.Errorf("once more: %v", err)
		}
		if s.names(t, repo, "1") != "" || s2.names(t, repo, "1") != "" || s.names(t, repo, "2") != a.Digest || !s.has(t, repo, a.Digest) {
			t.Error("not just that tag is gone")
		}
		if err := srv.Tag(t.Context(), repo, "1", a.Digest, images.Expect{}); err != nil || s.names(t, repo, "1") != a.Digest {
			t.Errorf("tag again: %v", err)
		}
	}
}

func TestDeleteTakesTheTagsAlong(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	a, b := layered("a", 2), layered("b", 1)
	s.push(t, repo, a, "1", "2", "moved")
	s.push(t, repo, b, "3")
	if err := s2.Tag(t.Context(), repo, "moved", b.Digest, images.Expect{}); err != nil {
		t.Fatal(err)
	}
	s.push(t, other, a, "1")
	if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), repo, a.Digest); !errors.Is(err, blobstore.ErrManifestUnknown) {
		t.Errorf("once more: %v", err)
	}
	for _, srv := range []*server{s, s2, w.server(t, images.Options{})} {
		if srv.has(t, repo, a.Digest) || !srv.has(t, repo, b.Digest) || !srv.has(t, other, a.Digest) {
			t.Error("not just that manifest is gone")
		}
		want := map[reference.Tag]digest.Digest{"3": b.Digest, "moved": b.Digest}
		if got := srv.tags(t, repo, ""); !maps.Equal(got, want) {
			t.Errorf("tags %v", got)
		}
		if got := srv.tags(t, other, ""); len(got) != 1 {
			t.Errorf("tags of the other repository %v", got)
		}
	}
	// Pushed again, it has the tags it is given now, not those it had.
	s2.push(t, repo, a, "2")
	for _, srv := range []*server{s, s2} {
		if srv.names(t, repo, "1") != "" || srv.names(t, repo, "2") != a.Digest || len(srv.tags(t, repo, "")) != 3 {
			t.Errorf("tags after it was pushed again: %v", srv.tags(t, repo, ""))
		}
	}
}

// The blobs of an image that was deleted are there for the images that share
// them, and so are the manifests of an index.
func TestDeleteTouchesNothingElse(t *testing.T) {
	s, _ := newServer(t)
	a := layered("a", 1)
	s.push(t, repo, a)
	index := storetestIndex(a)
	s.push(t, repo, index, "1")
	if err := s.Delete(t.Context(), repo, index.Digest); err != nil {
		t.Fatal(err)
	}
	if !s.has(t, repo, a.Digest) {
		t.Error("the manifest went with the index")
	}
	s.push(t, repo, index, "1")
	if err := s.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Fatal(err)
	}
	if s.has(t, repo, a.Digest) {
		t.Error("the manifest is still there by itself")
	}
	img, err := s.Image(t.Context(), repo, reference.Locator{Tag: "1"}, "linux/amd64")
	if err != nil || img.Manifest.Digest != a.Digest || len(img.Layers) != 1 {
		t.Errorf("through the index: %+v, %v", img, err)
	}
}
