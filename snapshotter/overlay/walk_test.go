package overlay_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"pgregory.net/rapid"
)

// What containerd asks for by snapshot.ref is answered from memory. A filter
// that says the same in other words is not: the two must agree, whatever has
// happened.
func TestWalkByRefAgreesWithTheMetadata(t *testing.T) {
	if os.Getenv("LAMINA_SOAK") == "" {
		// Each step is flushed to disk.
		if err := flag.Set("rapid.checks", "15"); err != nil {
			t.Fatal(err)
		}
	}
	s, root := openNew(t)
	refs := []string{"sha256:a", "sha256:b", "plain"}
	rapid.Check(t, func(rt *rapid.T) {
		for _, name := range byAge(t, s) {
			if err := s.Remove(t.Context(), name); err != nil {
				rt.Fatal(err)
			}
		}
		aRef := rapid.SampledFrom(append(refs, ""))
		label := func(ref string) map[string]string {
			if ref == "" {
				return nil
			}
			return map[string]string{snapshots.LabelSnapshotRef: ref}
		}
		count := 0
		check := func(rt *rapid.T) {
			ref := rapid.SampledFrom(refs).Draw(rt, "asked ref")
			parent := rapid.SampledFrom(append(names(t, s), "")).Draw(rt, "asked parent")
			compare(t, rt, s,
				fmt.Sprintf(`labels."containerd.io/snapshot.ref"==%s,parent==%q`, ref, parent),
				fmt.Sprintf(`parent==%q,labels."containerd.io/snapshot.ref"==%s`, parent, ref))
			compare(t, rt, s,
				fmt.Sprintf(`labels."containerd.io/snapshot.ref"==%s`, ref),
				fmt.Sprintf(`labels."containerd.io/snapshot.ref"==%s,name!=""`, ref))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": check,
			"layer": func(rt *rapid.T) {
				count++
				key, name := fmt.Sprint("active ", count), fmt.Sprint("name ", count)
				parent := rapid.SampledFrom(append(committed(t, s), "")).Draw(rt, "parent")
				opt := snapshots.WithLabels(label(aRef.Draw(rt, "ref")))
				// One that is here already is no error.
				if _, err := s.Prepare(t.Context(), key, parent, opt); err != nil {
					return
				}
				if rapid.Bool().Draw(rt, "commit") {
					if err := s.Commit(t.Context(), name, key, opt); err != nil {
						rt.Fatal(err)
					}
				}
			},
			"label": func(rt *rapid.T) {
				all := names(t, s)
				if len(all) == 0 {
					rt.Skip()
				}
				info := snapshots.Info{Name: rapid.SampledFrom(all).Draw(rt, "name"), Labels: label(aRef.Draw(rt, "ref"))}
				if _, err := s.Update(t.Context(), info); err != nil {
					rt.Fatal(err)
				}
			},
			"remove": func(rt *rapid.T) {
				all := names(t, s)
				if len(all) == 0 {
					rt.Skip()
				}
				// A parent is not removed, and that is no error either.
				_ = s.Remove(t.Context(), rapid.SampledFrom(all).Draw(rt, "name"))
			},
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open(t, root)
			},
		})
	})
}

func compare(t *testing.T, rt *rapid.T, s snapshots.Snapshotter, byRef, oracle string) {
	got, want := names(t, s, byRef), names(t, s, oracle)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		rt.Fatalf("%s finds %q, and %s finds %q", byRef, got, oracle, want)
	}
}

func committed(t *testing.T, s snapshots.Snapshotter) []string { return names(t, s, "kind==committed") }

// byAge lists snapshots so that children come before their parents.
func byAge(t *testing.T, s snapshots.Snapshotter) []string {
	var infos []snapshots.Info
	if err := s.Walk(t.Context(), func(_ context.Context, info snapshots.Info) error {
		infos = append(infos, info)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(infos, func(a, b snapshots.Info) int { return b.Created.Compare(a.Created) })
	var names []string
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return names
}

func TestWalkOfNothing(t *testing.T) {
	s, _ := openNew(t)
	if got := names(t, s); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup of nothing: %v", err)
	}
}

func TestLabelsAreRemembered(t *testing.T) {
	s, root := openNew(t)
	labels := map[string]string{
		snapshots.LabelSnapshotRef:                     "sha256:a",
		"containerd.io/snapshot/diff-id":               "sha256:b",
		"containerd.io/snapshot/cri.image-ref":         "example.org/app:1",
		"containerd.io/snapshot/cri.manifest-digest":   "sha256:c",
		"containerd.io/snapshot/parent-chain-id":       "",
		"containerd.io/gc.root":                        "now",
		"containerd.io/snapshot/with.dots/and.slashes": "x",
	}
	layer(t, s, "base", "", nil, snapshots.WithLabels(labels))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	info, err := s.Stat(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range labels {
		if got := info.Labels[key]; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// Walk's callback may take as long as it likes, and change what it walks.
func TestWalkHoldsNothing(t *testing.T) {
	s, _ := openNew(t)
	for i := range 10 {
		layer(t, s, fmt.Sprint("layer", i), "", nil)
	}
	seen := 0
	err := s.Walk(t.Context(), func(ctx context.Context, info snapshots.Info) error {
		seen++
		return s.Remove(ctx, info.Name)
	})
	if err != nil || seen != 10 {
		t.Errorf("saw %d, %v", seen, err)
	}
	if got := names(t, s); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}
