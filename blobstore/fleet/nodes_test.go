package fleet_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
)

type world struct {
	clock  *storetest.Clock
	bucket *count.Bucket
	store  *blobstore.Store
	images *images.Images
	fleet  *fleet.Fleet
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: storetest.NewClock()}
	w.bucket = count.New(storetest.NewBucket(w.clock))
	w.store = storetest.Open(t, w.bucket, w.clock)
	w.images = images.New(w.store, nil, images.Options{Logger: storetest.Quiet()})
	w.fleet = fleet.New(w.store, w.images)
	return w
}

func container(id string) fleet.Container {
	return fleet.Container{
		Namespace: "default", ID: id, Image: "localhost:5000/demo/app:1", ImageDigest: digest.FromString("image"),
		ChainID: digest.FromString("chain"), State: fleet.Running, CreatedAt: time.Date(2026, 2, 1, 10, 0, 0, 5000, time.UTC),
		WrittenBytes: 1234, WrittenInodes: 5, Labels: map[string]string{"app": "web"},
	}
}

func (w *world) nodes(t *testing.T, after string) []fleet.Node {
	t.Helper()
	var got []fleet.Node
	for n, err := range w.fleet.Nodes(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	return got
}

func TestReportReplacesWhatWasKnown(t *testing.T) {
	w := newWorld(t)
	report := func(n fleet.Node) {
		t.Helper()
		if err := w.fleet.Report(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	report(fleet.Node{ID: "n2", Hostname: "host-2", Version: "1.0", Containers: []fleet.Container{container("b"), container("a")}})
	report(fleet.Node{ID: "n1"})
	a, b := container("a"), container("b")
	a.NodeID, b.NodeID = "n2", "n2"
	want := []fleet.Node{
		{ID: "n1", ReportedAt: w.clock.Now()},
		{ID: "n2", Hostname: "host-2", Version: "1.0", ReportedAt: w.clock.Now(), Containers: []fleet.Container{a, b}},
	}
	if diff := cmp.Diff(want, w.nodes(t, "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[1:], w.nodes(t, "n1")); diff != "" {
		t.Error(diff)
	}
	// A container that is gone is gone from the list.
	report(fleet.Node{ID: "n2", Hostname: "host-2", Version: "1.0", Containers: []fleet.Container{container("b")}})
	n, ok, err := w.fleet.Node(t.Context(), "n2")
	if err != nil || !ok || len(n.Containers) != 1 || n.Containers[0].ID != "b" {
		t.Errorf("%+v, %v, %v", n, ok, err)
	}
	if _, ok, err := w.fleet.Node(t.Context(), "n3"); ok || err != nil {
		t.Errorf("a node that never reported: %v, %v", ok, err)
	}
}

func TestSilentNodeIsShownWithTheTimeOfItsLastWord(t *testing.T) {
	w := newWorld(t)
	if err := w.fleet.Report(t.Context(), fleet.Node{ID: "n"}); err != nil {
		t.Fatal(err)
	}
	then := w.clock.Now()
	w.clock.Turn(60 * 24 * time.Hour)
	if ns := w.nodes(t, ""); len(ns) != 1 || !ns[0].ReportedAt.Equal(then) {
		t.Errorf("%+v", ns)
	}
}

func TestReportThatSaysNothingNewIsNotWritten(t *testing.T) {
	w := newWorld(t)
	n := fleet.Node{ID: "n", Containers: []fleet.Container{container("a"), container("b")}}
	swapped := fleet.Node{ID: "n", Containers: []fleet.Container{container("b"), container("a")}}
	wrote := container("a")
	wrote.WrittenBytes++
	changed := fleet.Node{ID: "n", Containers: []fleet.Container{wrote, container("b")}}
	for i, step := range []struct {
		after  time.Duration
		node   fleet.Node
		writes int64
	}{
		{0, n, 1}, {0, n, 0}, {9 * time.Minute, swapped, 0}, {time.Minute, n, 1}, {time.Minute, changed, 1}, {time.Minute, changed, 0}, {0, n, 1},
	} {
		w.clock.Turn(step.after)
		before := w.bucket.Snapshot().Put
		if err := w.fleet.Report(t.Context(), step.node); err != nil {
			t.Fatal(err)
		}
		if got := w.bucket.Snapshot().Put - before; got != step.writes {
			t.Errorf("step %d: %d writes, want %d", i, got, step.writes)
		}
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	with := func(change func(*fleet.Container)) fleet.Node {
		c := container("a")
		change(&c)
		return fleet.Node{ID: "n", Containers: []fleet.Container{c}}
	}
	many := fleet.Node{ID: "n"}
	for i := range fleet.MaxContainers + 1 {
		many.Containers = append(many.Containers, fleet.Container{Namespace: "d", ID: fmt.Sprint(i)})
	}
	bulky := fleet.Node{ID: "n"}
	for i := range 4000 {
		bulky.Containers = append(bulky.Containers, fleet.Container{Namespace: "d", ID: fmt.Sprint(i), Image: strings.Repeat("x", 1000)})
	}
	for _, c := range []struct {
		name  string
		node  fleet.Node
		class error
		says  string
	}{
		{"no id", fleet.Node{}, blobstore.ErrNodeInvalid, "id of a node"},
		{"id that is a path", fleet.Node{ID: "../x"}, blobstore.ErrNodeInvalid, "id of a node"},
		{"id that begins with a dot", fleet.Node{ID: ".x"}, blobstore.ErrNodeInvalid, "id of a node"},
		{"long id", fleet.Node{ID: strings.Repeat("x", 129)}, blobstore.ErrNodeInvalid, "id of a node"},
		{"hostname that moves the cursor", fleet.Node{ID: "n", Hostname: "a\x1b[2J"}, blobstore.ErrNodeInvalid, "hostname"},
		{"container without id", with(func(c *fleet.Container) { c.ID = "" }), blobstore.ErrNodeInvalid, "has no id"},
		{"container without namespace", with(func(c *fleet.Container) { c.Namespace = "" }), blobstore.ErrNodeInvalid, "has no namespace"},
		{"image that is no text", with(func(c *fleet.Container) { c.Image = "\xff" }), blobstore.ErrNodeInvalid, "image"},
		{"digest that is none", with(func(c *fleet.Container) { c.ChainID = "sha256:1" }), blobstore.ErrNodeInvalid, "invalid digest"},
		{"state that is none", with(func(c *fleet.Container) { c.State = "flying" }), blobstore.ErrNodeInvalid, "flying"},
		{"negative size", with(func(c *fleet.Container) { c.WrittenBytes = -1 }), blobstore.ErrNodeInvalid, "-1"},
		{"long label", with(func(c *fleet.Container) { c.Labels["x"] = strings.Repeat("x", 5000) }), blobstore.ErrNodeInvalid, "label"},
		{"a container twice", fleet.Node{ID: "n", Containers: []fleet.Container{container("a"), container("a")}}, blobstore.ErrNodeInvalid, "listed twice"},
		{"too many containers", many, blobstore.ErrTooLarge, "10001 containers"},
		{"too many bytes", bulky, blobstore.ErrTooLarge, "4000 containers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.fleet.Report(t.Context(), c.node)
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	if ns := w.nodes(t, ""); len(ns) != 0 {
		t.Errorf("something was recorded: %+v", ns)
	}
}

func TestLargeReportLosesItsLabelsButNoContainer(t *testing.T) {
	w := newWorld(t)
	n := fleet.Node{ID: "n"}
	for i := range 3000 {
		c := container(fmt.Sprintf("%04d", i))
		c.Labels["note"] = strings.Repeat("x", 300)
		n.Containers = append(n.Containers, c)
	}
	if err := w.fleet.Report(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got := w.nodes(t, "")[0]
	if len(got.Containers) != 3000 || got.Containers[0].Labels != nil || got.Containers[7].ChainID != n.Containers[7].ChainID {
		t.Errorf("%d containers, the first %+v", len(got.Containers), got.Containers[0])
	}
	if info, err := w.bucket.Stat(t.Context(), "nodes/n"); err != nil || info.Size > fleet.MaxReportSize {
		t.Errorf("%+v, %v", info, err)
	}
	n.Containers = n.Containers[:10]
	if err := w.fleet.Report(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got := w.nodes(t, "")[0]; len(got.Containers) != 10 || got.Containers[0].Labels["app"] != "web" {
		t.Errorf("%+v", got)
	}
}
