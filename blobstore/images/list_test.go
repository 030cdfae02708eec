package images_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

func storetestIndex(is ...storetest.Image) storetest.Image {
	var ds []ocispec.Descriptor
	for _, i := range is {
		ds = append(ds, i.Descriptor())
	}
	return storetest.Index(ds...)
}

func TestTagsComeInTheOrderOfTheirBytes(t *testing.T) {
	s, w := newServer(t)
	a := layered("a", 1)
	tags := []reference.Tag{"1.10", "1.9", "B", "_x", "a", "a-1", "a.1", "a1", "b"}
	s.push(t, repo, a, tags...)
	slices.Sort(tags)
	for _, srv := range []*server{s, w.server(t, images.Options{})} {
		for i, after := range append([]reference.Tag{""}, tags...) {
			var names []reference.Tag
			for n, err := range srv.TagNames(t.Context(), repo, after) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, n)
			}
			if !slices.Equal(names, tags[i:]) {
				t.Errorf("after %q: %q", after, names)
			}
			if got := srv.tags(t, repo, after); len(got) != len(tags)-i {
				t.Errorf("after %q: %v", after, got)
			}
		}
		if got := srv.tags(t, repo, "aa"); len(got) != 1 {
			t.Errorf("after one that is not there: %v", got)
		}
	}
}

func TestListsOfARepositoryThatIsNotThere(t *testing.T) {
	s, w := newServer(t)
	a := layered("a", 1)
	s.push(t, repo, a)
	for _, srv := range []*server{s, w.server(t, images.Options{})} {
		if got := srv.tags(t, repo, ""); len(got) != 0 {
			t.Errorf("tags of a repository without: %v", got)
		}
		for _, err := range srv.Tags(t.Context(), other, "") {
			if !errors.Is(err, blobstore.ErrRepositoryUnknown) {
				t.Error(err)
			}
		}
		for _, err := range srv.TagNames(t.Context(), other, "") {
			if !errors.Is(err, blobstore.ErrRepositoryUnknown) {
				t.Error(err)
			}
		}
		for _, err := range srv.Manifests(t.Context(), other, "") {
			if !errors.Is(err, blobstore.ErrRepositoryUnknown) {
				t.Error(err)
			}
		}
		for range srv.Referrers(t.Context(), other, a.Digest) {
			t.Error("a referrer")
		}
	}
}

func TestManifests(t *testing.T) {
	s, w := newServer(t)
	var want []digest.Digest
	for i := range 5 {
		want = append(want, s.push(t, repo, layered(fmt.Sprint(i), 1)).Digest)
	}
	if err := s.Delete(t.Context(), repo, want[4]); err != nil {
		t.Fatal(err)
	}
	want = want[:4]
	slices.Sort(want)
	for _, srv := range []*server{s, w.server(t, images.Options{})} {
		var got []digest.Digest
		for d, err := range srv.Manifests(t.Context(), repo, want[0]) {
			if err != nil || d.Size == 0 || d.MediaType != ocispec.MediaTypeImageManifest {
				t.Fatalf("%+v, %v", d, err)
			}
			got = append(got, d.Digest)
		}
		if !slices.Equal(got, want[1:]) {
			t.Errorf("got %v, want %v", got, want[1:])
		}
	}
}

func TestRepositories(t *testing.T) {
	s, _ := newServer(t)
	a := layered("a", 1)
	var want []reference.Repository
	for _, r := range []reference.Repository{"b", "a/b/c", "a", "a-b", "a/b"} {
		s.push(t, r, a, "1")
		want = append(want, r)
	}
	slices.Sort(want)
	// One that only has blobs has not come into being.
	storetest.PushBlobs(t, s.store, "c", a)
	list := func(after string) (got []reference.Repository) {
		for r, err := range s.Repositories(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		return got
	}
	if got := list(""); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := list("a/b"); !slices.Equal(got, []reference.Repository{"a/b/c", "b"}) {
		t.Errorf("after a/b: %q", got)
	}
}

func TestReferrers(t *testing.T) {
	s, w := newServer(t)
	s2 := w.server(t, images.Options{})
	subject := layered("subject", 1)
	sd := subject.Descriptor()
	ref := func(seed, kind string) storetest.Image {
		return storetest.Build{Tars: [][]byte{storetest.Tar(1, seed)}, Subject: &sd, Annotated: map[string]string{"by": seed},
			Change: func(m *ocispec.Manifest, _ *ocispec.Image) { m.ArtifactType = kind }}.Image()
	}
	list := func(srv *server) map[digest.Digest]ocispec.Descriptor {
		got := map[digest.Digest]ocispec.Descriptor{}
		var last digest.Digest
		for d, err := range srv.Referrers(t.Context(), repo, subject.Digest) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Digest <= last {
				t.Errorf("%s comes after %s", d.Digest, last)
			}
			last = d.Digest
			got[d.Digest] = d
		}
		return got
	}
	// The subject need not be there.
	a, b := ref("a", "application/vnd.example.sbom"), ref("b", "")
	s.push(t, repo, a, "a")
	if m := s.push(t, repo, b); m.Subject != subject.Digest {
		t.Errorf("put says subject %q", m.Subject)
	}
	for _, srv := range []*server{s, s2} {
		got := list(srv)
		d := got[a.Digest]
		if len(got) != 2 || d.ArtifactType != "application/vnd.example.sbom" || d.Annotations["by"] != "a" ||
			d.MediaType != a.MediaType || d.Size != int64(len(a.Manifest)) || got[b.Digest].ArtifactType != ocispec.MediaTypeImageConfig {
			t.Errorf("referrers %+v", got)
		}
	}
	if err := s2.Delete(t.Context(), repo, a.Digest); err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*server{s, s2} {
		if got := list(srv); len(got) != 1 {
			t.Errorf("after one was deleted: %+v", got)
		}
	}
	s.push(t, repo, a)
	for _, srv := range []*server{s, s2} {
		if got := list(srv); len(got) != 2 {
			t.Errorf("after it was pushed again: %+v", got)
		}
	}
	// Deleting the subject leaves those that refer to it.
	s.push(t, repo, subject)
	if err := s.Delete(t.Context(), repo, subject.Digest); err != nil {
		t.Fatal(err)
	}
	if got := list(s); len(got) != 2 {
		t.Errorf("after the subject was deleted: %+v", got)
	}
}

// A crash between the link and what comes after it leaves a manifest that was
// not acknowledged; pushing it again completes it.
func TestPushAgainCompletesWhatACrashLeft(t *testing.T) {
	for _, at := range []string{"repos/demo/app/_referrers/", "catalog/", "repos/demo/app/_tags/"} {
		t.Run(at, func(t *testing.T) {
			s, w := newServer(t)
			sd := layered("subject", 1).Descriptor()
			i := storetest.Build{Tars: [][]byte{storetest.Tar(1, "a")}, Subject: &sd}.Image()
			storetest.PushBlobs(t, s.store, repo, i)
			w.tricky.Set(failPut(at))
			if _, err := s.put(repo, i, "1"); err == nil {
				t.Fatal("put does not fail")
			}
			w.tricky.Set(nil)
			if s.names(t, repo, "1") != "" {
				t.Error("the tag is there")
			}
			s2 := w.server(t, images.Options{})
			if _, err := s2.put(repo, i, "1"); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, err := range s2.Referrers(t.Context(), repo, sd.Digest) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if want := map[reference.Tag]digest.Digest{"1": i.Digest}; n != 1 || !maps.Equal(s2.tags(t, repo, ""), want) {
				t.Errorf("%d referrers, tags %v", n, s2.tags(t, repo, ""))
			}
		})
	}
}
