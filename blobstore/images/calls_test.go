package images_test

import (
	"fmt"
	"testing"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// How many calls to the bucket things take. Those for the check of layers,
// which go on in the background, are not among them.
func TestCalls(t *testing.T) {
	s, w := newServer(t)
	a, b := layered("a", 5), layered("b", 5)
	expect := func(what string, max int, f func()) {
		t.Helper()
		if n := w.calls(t, f); n > max {
			t.Errorf("%s: %d calls, at most %d\n%s", what, n, max, w.bucket.Log())
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	get := func(srv *server, l reference.Locator) func() {
		return func() {
			t.Helper()
			_, err := srv.Get(t.Context(), repo, l)
			must(err)
		}
	}
	put := func(srv *server, i storetest.Image, tags ...reference.Tag) func() {
		return func() {
			t.Helper()
			_, err := srv.put(repo, i, tags...)
			must(err)
		}
	}
	tag := func(srv *server, i storetest.Image, name reference.Tag) func() {
		return func() {
			t.Helper()
			must(srv.Tag(t.Context(), repo, name, i.Digest, images.Expect{}))
		}
	}
	storetest.PushBlobs(t, s.store, repo, a)
	storetest.PushBlobs(t, s.store, repo, b)
	expect("push a manifest, first of the repository", 4, put(s, a, "1")) // blob, link, catalog, tag
	expect("push a manifest", 3, put(s, b, "2"))
	expect("get by tag", 1, get(s, reference.Locator{Tag: "1"}))
	expect("get by digest", 0, get(s, reference.Locator{Digest: a.Digest}))
	expect("push it again under a new tag", 1, put(s, a, "3"))
	expect("push it again under a tag that was seen", 1, put(s, b, "3"))
	expect("new tag", 1, tag(s, a, "4"))
	expect("move a tag that was seen", 1, tag(s, b, "4"))

	w.clock.Turn(2 * lease)
	expect("get by tag, link no longer held", 2, get(s, reference.Locator{Tag: "1"}))
	w.clock.Turn(2 * lease)
	expect("move a tag that was seen, link no longer held", 2, tag(s, a, "4"))
	w.clock.Turn(2 * lease)
	expect("new tag, link no longer held", 2, tag(s, a, "5"))
	w.clock.Turn(2 * lease)
	expect("push it again under a new tag, link no longer held", 2, put(s, a, "6"))

	cold := func() *server { return w.server(t, images.Options{}) }
	expect("cold: get by tag", 3, get(cold(), reference.Locator{Tag: "1"}))
	expect("cold: get by digest", 2, get(cold(), reference.Locator{Digest: a.Digest}))
	expect("cold: new tag", 4, tag(cold(), a, "7"))
	expect("cold: move a tag", 4, tag(cold(), b, "7"))
	expect("cold: push it again under a new tag", 4, put(cold(), a, "8"))
	expect("cold: push it again under a tag that is there", 4, put(cold(), b, "8"))
	srv := cold()
	expect("cold: what a client does that reads and then writes a new tag", 4, func() {
		get(srv, reference.Locator{Tag: "1"})()
		put(srv, a, "9")()
	})
}

func TestCallsOfLists(t *testing.T) {
	s, w := newServer(t)
	const n = 2500
	a := layered("a", 1)
	s.push(t, repo, a)
	for i := range n {
		if err := s.Tag(t.Context(), repo, reference.Tag(fmt.Sprintf("%05d", i)), a.Digest, images.Expect{}); err != nil {
			t.Fatal(err)
		}
	}
	first := func(s *server, n int) func() {
		return func() {
			for _, err := range s.TagNames(t.Context(), repo, "") {
				if err != nil {
					t.Fatal(err)
				}
				if n--; n == 0 {
					return
				}
			}
		}
	}
	cold := w.server(t, images.Options{})
	if got := w.calls(t, first(cold, 100)); got > 2 {
		t.Errorf("the first 100 names: %d calls\n%s", got, w.bucket.Log())
	}
	if got := w.calls(t, first(cold, n)); got > 6 {
		t.Errorf("all %d names: %d calls\n%s", n, got, w.bucket.Log())
	}
	if err := s.Untag(t.Context(), repo, "00000"); err != nil {
		t.Fatal(err)
	}
	if got := w.calls(t, first(s, 100)); got > 4 {
		t.Errorf("the first 100 names, where something was removed, on a server that knows the tags: %d calls\n%s", got, w.bucket.Log())
	}
	if got := w.calls(t, first(cold, 100)); got > 140 {
		t.Errorf("and on one that does not: %d calls", got)
	}
}
