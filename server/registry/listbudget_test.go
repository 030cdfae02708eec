package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// copies puts what is at key under n names in place of the first, as many pushes
// would.
func copies(t *testing.T, b bucket.Bucket, n int, key, first, format string) {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		other := strings.Replace(key, first, fmt.Sprintf(format, i), 1)
		if _, err := b.Put(context.Background(), other, bytes.NewReader(raw), int64(len(raw)), bucket.Condition{IfAbsent: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// Ten thousand repositories, and ten thousand tags in one: the calls of each
// page are bounded, however the list is asked for, on a server that knows
// nothing yet.
func TestCallBudgetOfLists(t *testing.T) {
	const many = 10_000
	b := memory.New(memory.Options{})
	s := serve(t, b)
	s.image("zz/app", "first", "it")
	s.close()
	copies(t, b, many-1, "catalog/zz/app+", "zz/app", "team/app-%05d")
	copies(t, b, many-1, "repos/zz/app/_tags/first", "first", "v%05d")

	for _, list := range []string{"/v2/_catalog", "/v2/zz/app/tags/list"} {
		for q, pages := range map[string]int{"": 10, "?n=1000": 10, "?n=100": 100, "?n=99999": 10} {
			counted := count.New(b)
			s := serve(t, counted)
			names, largest := map[string]bool{}, int64(0)
			n := 0
			for path := list + q; path != ""; n++ {
				before := counted.Snapshot()
				a := s.do("GET", path, nil).is(200)
				calls := counted.Snapshot().Sub(before)
				if largest = max(largest, calls.Total()); calls.Total() >= 20 {
					t.Fatalf("page %d of %s: %s", n, path, calls)
				}
				var body struct{ Tags, Repositories []string }
				if err := json.Unmarshal(a.body, &body); err != nil {
					t.Fatal(err)
				}
				for _, name := range append(body.Tags, body.Repositories...) {
					if names[name] {
						t.Fatalf("%s is there twice", name)
					}
					names[name] = true
				}
				path = next(t, a)
			}
			if len(names) != many || n != pages {
				t.Errorf("%s%s: %d names on %d pages, want %d on %d", list, q, len(names), n, many, pages)
			}
			t.Logf("%s%s: at most %d calls a page", list, q, largest)
		}
		// From somewhere in the middle, too.
		counted := count.New(b)
		s := serve(t, counted)
		last := map[string]string{"/v2/_catalog": "team/app-05000", "/v2/zz/app/tags/list": "v05000"}[list]
		s.do("GET", list+"?n=10&last="+last, nil).is(200, `Link: <`+list+`?last=`+strings.ReplaceAll(last[:len(last)-4]+"5010", "/", "%2F")+`&n=10>; rel="next"`)
		if calls := counted.Snapshot(); calls.Total() >= 20 {
			t.Errorf("from the middle of %s: %s", list, calls)
		}
	}
}

// Where tags have been deleted each must be looked at. A page passes over so
// many of those that are gone, and then says where to go on.
func TestAPageOfDeletedTagsEnds(t *testing.T) {
	b := memory.New(memory.Options{})
	s := serve(t, b)
	s.image("demo/app", "zz", "it")
	s.image("demo/app", "gone", "it")
	s.do("DELETE", "/v2/demo/app/manifests/gone", nil).is(202)
	copies(t, b, 2500, "repos/demo/app/_tags/gone", "gone", "gone-%05d")

	counted := count.New(b)
	pages := serve(t, counted).pages("/v2/demo/app/tags/list")
	if len(pages) != 3 || len(pages[0])+len(pages[1]) != 0 || len(pages[2]) != 1 || pages[2][0] != "zz" {
		t.Errorf("%v", pages)
	}
	if calls := counted.Snapshot().Total(); calls > 3000 { // one each, and the listings
		t.Errorf("%d calls", calls)
	}
}
