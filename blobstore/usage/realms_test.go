package usage_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/usage"
	"github.com/laminastore/lamina/reference"
)

// What is said of a repository tells nothing of what another realm has.
func TestSharingIsCountedInsideEachRealm(t *testing.T) {
	w := newWorld(t)
	i := storetest.Build{Tars: [][]byte{storetest.Tar(10_000, "base")}}.Image()
	for _, repo := range []reference.Repository{"team/a/one", "team/a/two", "team/b/one", "team/b/two", "team/c/only", "public"} {
		w.push(t, repo, i, "1")
	}
	realms, err := realm.Parse("a=team/a b=team/b c=team/c")
	if err != nil {
		t.Fatal(err)
	}
	get := func(m realm.Map) usage.Usage {
		t.Helper()
		u, err := w.counterOf(t, m).Get(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	own := func(u usage.Usage) map[reference.Repository]int64 {
		m := map[reference.Repository]int64{}
		for _, r := range u.Repositories {
			m[r.Name] = r.Own
			if r.Stored != size(i) || r.Named != size(i) {
				t.Errorf("%+v", r)
			}
		}
		return m
	}
	one := get(realm.Map{})
	if got := own(one)["public"]; got != 0 || len(one.Shared[0].Repositories) != 6 || one.Shared[0].Images != 6 {
		t.Errorf("with one realm: own %d, shared %+v", got, one.Shared)
	}

	// Other realms: nobody has to ask for a new count.
	u := get(realms)
	if diff := cmp.Diff(map[reference.Repository]int64{
		"team/a/one": 0, "team/a/two": 0, "team/b/one": 0, "team/b/two": 0, "team/c/only": size(i), "public": size(i),
	}, own(u)); diff != "" {
		t.Error(diff)
	}
	if u.Stored != size(i) || u.Named != 6*size(i) {
		t.Errorf("stored %d of %d", u.Stored, u.Named)
	}
	if len(u.Shared) != 2*3 { // layer, config and manifest, for each of two realms
		t.Fatalf("shared %+v", u.Shared)
	}
	for n, s := range u.Shared {
		want := [][]reference.Repository{{"team/a/one", "team/a/two"}, {"team/b/one", "team/b/two"}}[n%2]
		if s.Images != 2 || !cmp.Equal(s.Repositories, want) || s.Digest != u.Shared[n/2*2].Digest {
			t.Errorf("shared %d: %+v, want %v", n, s, want)
		}
	}
	w.bucket.Reset()
	if diff := cmp.Diff(u, get(realms)); diff != "" || w.bucket.Snapshot().Total() != 1 {
		t.Errorf("%s%s", w.bucket.Log(), diff)
	}
}
