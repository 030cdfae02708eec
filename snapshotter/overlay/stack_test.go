package overlay_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/laminastore/lamina/snapshotter/overlay"
)

func TestPinTellsWhereTheFilesAre(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "base"})
	layer(t, s, "app", "base", tree{"file": "app"})
	dir, _ := at(t, prepare(t, s, "container", "app"))
	tree{"file": "written"}.write(t, dir)

	stack, err := s.Pin(t.Context(), "container")
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Release()
	if stack.Info.Name != "container" || stack.Info.Parent != "app" || stack.Upper != root+"/sn/3/fs" {
		t.Errorf("got %+v", stack)
	}
	if want := []string{root + "/sn/2/fs", root + "/sn/1/fs"}; !slices.Equal(stack.Lowers, want) {
		t.Errorf("lowers %q, want %q", stack.Lowers, want)
	}
	if len(stack.Chain) != 2 || stack.Chain[0].Name != "app" || stack.Chain[1].Name != "base" {
		t.Errorf("chain %+v", stack.Chain)
	}
	if len(stack.Mounts) != 1 {
		t.Errorf("mounts %+v", stack.Mounts)
	}
	tree{"file": "written"}.check(t, stack.Upper)
	below, _ := at(t, stack.ParentMounts)
	tree{"file": "app"}.check(t, below)
	if err := os.WriteFile(filepath.Join(below, "file"), nil, 0o644); err == nil {
		t.Error("the parents can be written to")
	}

	base, err := s.Pin(t.Context(), "base")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Release()
	if base.Upper != root+"/sn/1/fs" || base.Lowers != nil || base.Mounts != nil || base.ParentMounts != nil {
		t.Errorf("a committed one without parents: %+v", base)
	}
}

func TestPinnedFilesOutliveTheSnapshot(t *testing.T) {
	s, root := openNew(t)
	layer(t, s, "base", "", tree{"file": "base"})
	prepare(t, s, "container", "base")
	tree{"file": "written"}.write(t, root+"/sn/2/fs")
	one, err := s.Pin(t.Context(), "container")
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Pin(t.Context(), "container")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"container", "base"} {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Pin(t.Context(), "container"); !errdefs.IsNotFound(err) {
		t.Errorf("Pin of what was removed: %v", err)
	}
	one.Release()
	one.Release()
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	tree{"file": "written"}.check(t, two.Upper)
	tree{"file": "base"}.check(t, two.Lowers[0])

	two.Release()
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := append(folders(t, root), list(t, root+"/trash")...); len(got) != 0 {
		t.Errorf("on disk: %q", got)
	}
}

func TestNamesFindsTheLatestOfEachKey(t *testing.T) {
	s, _ := openNew(t)
	for _, name := range []string{
		"default/1/web", "default/20/web", "default/3/web", // 1 and 3 wait for the collector
		"default/4/with/slashes", "k8s.io/5/web", "default", "default/x/web", "default/6/", "/7/web",
	} {
		prepare(t, s, name, "")
	}
	got, err := s.Names(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["web"] != "default/20/web" || got["with/slashes"] != "default/4/with/slashes" {
		t.Errorf("got %q", got)
	}
	if ns, seq, key, ok := overlay.ParseName("k8s.io/12/extract-1 sha256:a"); ns != "k8s.io" || seq != 12 || key != "extract-1 sha256:a" || !ok {
		t.Errorf("got %q %d %q %v", ns, seq, key, ok)
	}
}
