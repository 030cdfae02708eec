package registry_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// next is the path in a Link header, "" if there is none.
func next(t *testing.T, a answer) string {
	t.Helper()
	l := a.header.Get("Link")
	if l == "" {
		return ""
	}
	path, rel, ok := strings.Cut(strings.TrimPrefix(l, "<"), ">")
	if !ok || rel != `; rel="next"` {
		t.Fatalf("Link: %s", l)
	}
	return path
}

// pages follows a list to its end, and returns what is on each page.
func (s *server) pages(path string) (pages [][]string) {
	s.t.Helper()
	for path != "" {
		a := s.do("GET", path, nil).is(200, "Content-Type: application/json")
		var body struct{ Tags, Repositories []string }
		if err := json.Unmarshal(a.body, &body); err != nil {
			s.t.Fatal(err)
		}
		if len(a.body) > 0 && strings.Contains(string(a.body), "null") {
			s.t.Fatalf("%s: %s", path, a.body)
		}
		pages = append(pages, append(body.Tags, body.Repositories...))
		path = next(s.t, a)
	}
	return pages
}

func TestTagsAreListedInPages(t *testing.T) {
	s := serve(t, nil)
	_, m := s.image("demo/app", "B", "it")
	for _, tag := range []string{"c", "a", "10", "2", "_x"} {
		s.do("PUT", "/v2/demo/app/manifests/"+tag, m, "Content-Type: "+ociManifest).is(201)
	}
	const path = "/v2/demo/app/tags/list"
	for q, want := range map[string]string{
		"":              "[[10 2 B _x a c]]",
		"?n=":           "[[10 2 B _x a c]]",
		"?n=0":          "[[]]",
		"?n=6":          "[[10 2 B _x a c]]",
		"?n=100000":     "[[10 2 B _x a c]]",
		"?n=4":          "[[10 2 B _x] [a c]]",
		"?n=2":          "[[10 2] [B _x] [a c]]",
		"?last=B":       "[[_x a c]]",
		"?last=3":       "[[B _x a c]]", // it need not exist
		"?last=z":       "[[]]",
		"?n=1&last=_x":  "[[a] [c]]",
		"?n=0&last=_x":  "[[]]",
		"?last=B&x=y":   "[[_x a c]]",
		"?n=4294967295": "[[10 2 B _x a c]]",
	} {
		if got := fmt.Sprint(s.pages(path + q)); got != want {
			t.Errorf("%s: %s, want %s", q, got, want)
		}
	}
	s.do("GET", "/v2/demo/none/tags/list?n=0", nil).fails(404, "NAME_UNKNOWN")
	if a := s.do("HEAD", path, nil).is(200); len(a.body) > 0 {
		t.Error("HEAD has a body")
	}
}

func TestRepositoriesAreListedInPages(t *testing.T) {
	s := serve(t, nil)
	if got := fmt.Sprint(s.pages("/v2/_catalog")); got != "[[]]" {
		t.Errorf("nothing: %s", got)
	}
	for _, repo := range []string{"demo/b", "demo/a", "demo/a/deep", "other"} {
		s.image(repo, "1", repo)
	}
	all := s.pages("/v2/_catalog")
	if len(all) != 1 || !slices.IsSorted(all[0]) || len(all[0]) != 4 {
		t.Fatalf("%v", all)
	}
	if got := fmt.Sprint(s.pages("/v2/_catalog?n=3")); got != "[[demo/a demo/a/deep demo/b] [other]]" {
		t.Errorf("n=3: %s", got)
	}
	if got := fmt.Sprint(s.pages("/v2/_catalog?last=demo/a/deep")); got != "[[demo/b other]]" {
		t.Errorf("last: %s", got)
	}
}

// More than a page is asked for by nobody who does not look at Link.
func TestAPageHasAThousandNamesAtMost(t *testing.T) {
	s := serve(t, nil)
	_, m := s.image("demo/app", "t0000", "it")
	for i := 1; i < 1005; i++ {
		s.do("PUT", fmt.Sprintf("/v2/demo/app/manifests/t%04d", i), m, "Content-Type: "+ociManifest).is(201)
	}
	for _, q := range []string{"", "?n=5000"} {
		pages := s.pages("/v2/demo/app/tags/list" + q)
		if len(pages) != 2 || len(pages[0]) != 1000 || len(pages[1]) != 5 || pages[1][0] != "t1000" {
			t.Errorf("%q: %d pages", q, len(pages))
		}
	}
}
