package retain_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/retain"
)

// The rule is untagged-after = "7d". What happens, and which manifests are left
// when the rule is applied then.
func TestManifestsThatNothingNames(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *world)
		left    string
	}{
		"tagged": {func(w *world) { w.image("a", "1"); w.days(100) }, "a"},
		"young":  {func(w *world) { w.image("a"); w.days(6) }, "a"},
		"old":    {func(w *world) { w.image("a"); w.days(7) }, ""},
		"its tag was removed lately": {func(w *world) {
			w.image("a", "1")
			w.days(100)
			w.untag("1")
			w.days(6)
		}, "a"},
		"its tag was removed long ago": {func(w *world) {
			w.image("a", "1")
			w.days(1)
			w.untag("1")
			w.days(7)
		}, ""},
		"one of two tags was removed": {func(w *world) {
			w.image("a", "1", "2")
			w.untag("1")
			w.days(100)
		}, "a"},
		"its tag was moved lately, twice": {func(w *world) {
			w.image("a", "1")
			w.days(100)
			w.image("b", "1")
			w.days(2)
			w.image("c", "1")
			w.days(2)
		}, "a b c"},
		"its tag was moved long ago": {func(w *world) {
			w.image("a", "1")
			w.image("b", "1")
			w.days(7)
		}, "b"},
		"its tag was moved, removed and written again": {func(w *world) {
			w.image("a", "1")
			w.days(50)
			w.image("b", "1")
			w.days(1)
			w.untag("1")
			w.days(3)
			w.image("c", "1")
			w.days(3)
		}, "b c"},
		"pushed again lately": {func(w *world) { w.image("a"); w.days(100); w.image("a"); w.days(6) }, "a"},
		"deleted and pushed again": {func(w *world) {
			w.image("a", "1")
			w.must(w.images.Delete(w.t.Context(), repo, w.named["a"].Digest))
			w.days(100)
			w.image("a")
			w.days(6)
		}, "a"},
		"a tag of a former life is none": {func(w *world) {
			w.image("a", "1")
			w.must(w.images.Delete(w.t.Context(), repo, w.named["a"].Digest))
			w.image("a")
			w.days(8)
		}, ""},

		"in a tagged index": {func(w *world) {
			w.image("a")
			w.image("b")
			w.index("i", "a b", "1")
			w.days(100)
		}, "a b i"},
		"in an index in a tagged index": {func(w *world) {
			w.image("a")
			w.index("i", "a")
			w.index("j", "i", "1")
			w.days(100)
		}, "a i j"},
		"in an index that the repository does not have, in one that it has": {func(w *world) {
			w.image("a")
			w.index("i", "a")
			w.index("j", "i", "1")
			w.must(w.images.Delete(w.t.Context(), repo, w.named["i"].Digest))
			w.days(100)
		}, "a j"},
		"in a young index without a tag": {func(w *world) {
			w.image("a")
			w.days(6)
			w.index("i", "a")
			w.days(6)
		}, "a i"},
		"in an old index without a tag": {func(w *world) {
			w.image("a")
			w.image("b", "1")
			w.index("i", "a b")
			w.index("j", "i")
			w.days(7)
		}, "b"},
		"in an index whose tag was removed": {func(w *world) {
			w.image("a")
			w.index("i", "a", "1")
			w.days(50)
			w.untag("1")
			w.days(6)
		}, "a i"},
		"young, in an old index": {func(w *world) {
			w.image("a")
			w.index("i", "a")
			w.days(4)
			w.tag("1", "a")
			w.untag("1")
			w.days(4)
		}, "a"},

		"referrer of what is there": {func(w *world) {
			w.image("a", "1")
			w.referrer("s", "a")
			w.referrer("ss", "s")
			w.days(100)
		}, "a s ss"},
		"referrers of what goes, and theirs": {func(w *world) {
			w.image("a")
			w.days(6)
			w.referrer("s", "a")
			w.referrer("ss", "s")
			w.days(1)
		}, ""},
		"tagged referrer of what goes": {func(w *world) {
			w.image("a")
			w.referrer("s", "a", "signature")
			w.referrer("ss", "s")
			w.days(7)
		}, "s ss"},
		"referrer of what was deleted": {func(w *world) {
			w.image("a", "1")
			w.referrer("s", "a")
			w.days(1)
			w.must(w.images.Delete(w.t.Context(), repo, w.named["a"].Digest))
		}, ""},
		"referrer that came after its subject was deleted": {func(w *world) {
			w.image("a", "1")
			w.must(w.images.Delete(w.t.Context(), repo, w.named["a"].Digest))
			w.days(1)
			w.referrer("s", "a")
			w.days(6)
		}, "s"},
		"young referrer of what never was there": {func(w *world) { w.referrer("s", "a"); w.days(6) }, "s"},
		"old referrer of what never was there":   {func(w *world) { w.referrer("s", "a"); w.days(7) }, ""},
		"referrer of what is in a tagged index": {func(w *world) {
			w.image("a")
			w.index("i", "a", "1")
			w.referrer("s", "a")
			w.days(100)
		}, "a i s"},

		"registered snapshot": {func(w *world) { w.image("a"); w.snapshot("a"); w.days(100) }, "a"},
		"deleted snapshot": {func(w *world) {
			w.image("a")
			w.must(w.fleet.DeleteSnapshot(w.t.Context(), w.snapshot("a")))
			w.days(100)
		}, ""},
		"in use on a node": {func(w *world) {
			w.image("a")
			w.index("i", "a")
			w.days(100)
			w.runs("i")
			w.days(29)
		}, "a i"},
		"in use on a node that has been silent for 30 days": {func(w *world) {
			w.image("a")
			w.runs("a")
			w.days(30)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.happens(w)
			_, before := w.there()
			p := rule(t, `untagged-after = "7d"`)
			would := removed(w.apply(p, true))
			if _, left := w.there(); left != before {
				t.Errorf("a dry run has left %q of %q", left, before)
			}
			did := removed(w.apply(p, false))
			if _, left := w.there(); left != c.left {
				t.Errorf("left %q, want %q", left, c.left)
			}
			if would != did {
				t.Errorf("would remove %s, and did %s", would, did)
			}
			if again := removed(w.apply(p, false)); again != "[]" {
				t.Errorf("and then %s", again)
			}
		})
	}
}

// snapshot registers one whose image is that of a name, and returns its id.
func (w *world) snapshot(name string) string {
	w.t.Helper()
	i := w.named[name]
	s, err := w.fleet.Register(w.t.Context(), fleet.Snapshot{
		ID: w.store.NewID(), Repository: repo, Image: images.Descriptor{Digest: i.Digest},
		ChainID: i.DiffIDs[0], DiffID: i.DiffIDs[0], NodeID: "n1",
		Container: fleet.Container{Namespace: "default", ID: "c1"},
	})
	w.must(err)
	return s.ID
}

// runs has a node report that it runs the image of a name.
func (w *world) runs(name string) {
	w.t.Helper()
	w.must(w.fleet.Report(w.t.Context(), fleet.Node{ID: "n1", Containers: []fleet.Container{
		{Namespace: "default", ID: "c1", ImageDigest: w.named[name].Digest},
	}}))
}

func TestWithoutATimeManifestsAreKept(t *testing.T) {
	w := newWorld(t)
	w.image("a")
	w.image("b", "1")
	w.referrer("s", "b")
	w.days(1000)
	w.apply(rule(t, `keep-tags = ["v*"]`), false)
	if tags, left := w.there(); tags != "" || left != "a b s" {
		t.Errorf("%q and %q", tags, left)
	}
}

// One cycle removes the tag; the manifest has its time from then on.
func TestAManifestWhoseTagIsRemovedHasItsTime(t *testing.T) {
	w := newWorld(t)
	w.image("a", "1")
	w.referrer("s", "a")
	w.days(100)
	p := rule(t, "keep-tags = [\"v*\"]\nuntagged-after = \"7d\"")
	for _, c := range []struct {
		days int
		want string
	}{{0, "[tag 1]"}, {6, "[]"}, {1, "[a s]"}, {7, "[]"}} {
		w.days(c.days)
		if did := removed(w.apply(p, false)); did != c.want {
			t.Errorf("removed %s, want %s", did, c.want)
		}
	}
}

// Nobody knows what an index names whose bytes are damaged.
func TestADamagedIndexKeepsAllOfItsRepository(t *testing.T) {
	w := newWorld(t)
	w.image("a")
	w.index("i", "a", "1")
	w.days(100)
	p := rule(t, `untagged-after = "7d"`)
	w.bucket.Set(func(op, key string, pass func() error) error {
		if op == "get" && strings.HasSuffix(key, w.named["i"].Digest.Encoded()) && strings.HasPrefix(key, "blobs/") {
			_, _, err := w.bucket.Bucket.Get(t.Context(), "blobs/sha256/00/"+digest.FromString("x").Encoded(), 0, -1)
			return err // it is not there
		}
		return pass()
	})
	fs := w.apply(p, false)
	w.bucket.Set(nil)
	if f := fs["repository demo/app"]; f.Kind != retain.KindRepository || !strings.Contains(f.Why, string(w.named["i"].Digest)) || len(fs) != 1 {
		t.Errorf("%+v", fs)
	}
	if _, left := w.there(); left != "a i" {
		t.Errorf("left %q", left)
	}
}
