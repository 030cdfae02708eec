package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

const repo = reference.Repository("demo/web")

// push stores an image of a layer for each name.
func (w *world) push(t *testing.T, repo reference.Repository, names ...string) storetest.Image {
	t.Helper()
	b := storetest.Build{}
	for _, n := range names {
		b.Tars = append(b.Tars, storetest.Tar(10, n))
	}
	i := b.Image()
	storetest.PushBlobs(t, w.store, repo, i)
	if _, err := w.images.Put(t.Context(), repo, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest}); err != nil {
		t.Fatal(err)
	}
	return i
}

func snapshot(id string, i storetest.Image) fleet.Snapshot {
	return fleet.Snapshot{ID: id, Repository: repo, Image: images.Descriptor{Digest: i.Digest}, NodeID: "n1", Container: container("web-1")}
}

func id(n uint64) string { return ulid.MustNew(1_700_000_000_000+n, nil).String() }

func TestRegisterFillsIn(t *testing.T) {
	w := newWorld(t)
	i := w.push(t, repo, "base", "app", "diff")
	s := snapshot(id(1), i)
	s.Tag, s.Paused = "saved", 1234*time.Microsecond
	got, err := w.fleet.Register(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want := s
	want.Image = images.Descriptor{Digest: i.Digest, MediaType: i.MediaType, Size: int64(len(i.Manifest))}
	want.ParentDiffIDs = i.DiffIDs[:2]
	want.ParentChainID = identity.ChainID(slices.Clone(i.DiffIDs[:2]))
	want.ChainID = identity.ChainID(slices.Clone(i.DiffIDs))
	want.DiffID = i.DiffIDs[2]
	want.Diff = images.Descriptor{Digest: i.Layers[2], MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Size: int64(len(i.Blobs[i.Layers[2]]))}
	want.CreatedAt = w.clock.Now()
	want.Container.NodeID = "n1"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// It is the same to read, and to register again, as it was given and as it
	// came back, later too.
	w.clock.Turn(time.Hour)
	read, err := w.fleet.Snapshot(t.Context(), s.ID)
	if diff := cmp.Diff(want, read); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, again := range []fleet.Snapshot{s, got} {
		again, err := w.fleet.Register(t.Context(), again)
		if diff := cmp.Diff(want, again); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	// One layer alone has no parent.
	alone, err := w.fleet.Register(t.Context(), snapshot(id(2), w.push(t, repo, "alone")))
	if err != nil || alone.ParentChainID != "" || alone.ChainID != alone.DiffID || len(alone.ParentDiffIDs) != 0 {
		t.Errorf("%+v, %v", alone, err)
	}
	if _, err := w.fleet.Register(t.Context(), alone); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	i, another := w.push(t, repo, "base", "diff"), w.push(t, repo, "base", "another")
	elsewhere := w.push(t, "demo/elsewhere", "x", "y")
	index := storetest.Index(i.Descriptor())
	if _, err := w.images.Put(t.Context(), repo, images.PutOptions{MediaType: index.MediaType, Bytes: index.Manifest}); err != nil {
		t.Fatal(err)
	}
	used := snapshot(id(1), i)
	if _, err := w.fleet.Register(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	deleted := snapshot(id(2), i)
	if _, err := w.fleet.Register(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	if err := w.fleet.DeleteSnapshot(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*fleet.Snapshot)
		class  error
		says   string
	}{
		{"no id", func(s *fleet.Snapshot) { s.ID = "" }, blobstore.ErrSnapshotInvalid, "ULID"},
		{"id that is a path", func(s *fleet.Snapshot) { s.ID = "../../nodes/x" }, blobstore.ErrSnapshotInvalid, "ULID"},
		{"id in lower case", func(s *fleet.Snapshot) { s.ID = strings.ToLower(s.ID) }, blobstore.ErrSnapshotInvalid, "ULID"},
		{"repository that is none", func(s *fleet.Snapshot) { s.Repository = "A/../b" }, reference.ErrRepository, "A/../b"},
		{"tag that is none", func(s *fleet.Snapshot) { s.Tag = "-" }, reference.ErrTag, "-"},
		{"no node", func(s *fleet.Snapshot) { s.NodeID = "" }, blobstore.ErrNodeInvalid, "id of a node"},
		{"container that is none", func(s *fleet.Snapshot) { s.Container.ID = "" }, blobstore.ErrSnapshotInvalid, "has no id"},
		{"image that is not there", func(s *fleet.Snapshot) { s.Image.Digest = digest.FromString("x") }, blobstore.ErrManifestUnknown, "not in repository"},
		{"image of another repository", func(s *fleet.Snapshot) { s.Image.Digest = elsewhere.Digest }, blobstore.ErrManifestUnknown, "not in repository"},
		{"index", func(s *fleet.Snapshot) { s.Image.Digest = index.Digest }, blobstore.ErrSnapshotInvalid, "index"},
		{"other parent", func(s *fleet.Snapshot) { s.ParentDiffIDs = []digest.Digest{digest.FromString("x")} }, blobstore.ErrSnapshotInvalid, "parent"},
		{"other diffID", func(s *fleet.Snapshot) { s.DiffID = another.DiffIDs[1] }, blobstore.ErrSnapshotInvalid, "diffID"},
		{"other diff", func(s *fleet.Snapshot) { s.Diff.Digest = another.Layers[1] }, blobstore.ErrSnapshotInvalid, "diff"},
		{"other chain ID", func(s *fleet.Snapshot) { s.ChainID = digest.FromString("x") }, blobstore.ErrSnapshotInvalid, "chain ID"},
		{"other parent chain ID", func(s *fleet.Snapshot) { s.ParentChainID = digest.FromString("x") }, blobstore.ErrSnapshotInvalid, "parent chain ID"},
		{"id of another", func(s *fleet.Snapshot) { s.ID = used.ID; s.Image.Digest = another.Digest }, blobstore.ErrConflict, "another snapshot"},
		{"id of one that was deleted", func(s *fleet.Snapshot) { s.ID = deleted.ID }, blobstore.ErrConflict, "deleted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := snapshot(id(100), i)
			c.change(&s)
			if got, err := w.fleet.Register(t.Context(), s); !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if got := w.list(t, "", ""); !slices.Equal(got, []string{used.ID}) {
		t.Errorf("registered are %v", got)
	}
}

func (w *world) list(t *testing.T, repo reference.Repository, before string) (ids []string) {
	t.Helper()
	for s, err := range w.fleet.Snapshots(t.Context(), repo, before) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestSnapshotsComeNewestFirst(t *testing.T) {
	w := newWorld(t)
	i := w.push(t, repo, "base", "diff")
	var ids []string
	for n := range uint64(150) {
		s := snapshot(id(n), i)
		if _, err := w.fleet.Register(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	other := snapshot(id(1000), w.push(t, "demo/other", "x", "y"))
	other.Repository = "demo/other"
	if _, err := w.fleet.Register(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ids)
	if got := w.list(t, repo, ""); !slices.Equal(got, ids) {
		t.Errorf("%v", got)
	}
	if got := w.list(t, repo, ids[9]); !slices.Equal(got, ids[10:]) {
		t.Errorf("before %s: %v", ids[9], got)
	}
	if got := w.list(t, "", ""); len(got) != 151 || got[0] != other.ID {
		t.Errorf("of all repositories: %v", got)
	}
	if err := w.fleet.DeleteSnapshot(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if got := w.list(t, repo, ""); !slices.Equal(got, ids[1:]) {
		t.Errorf("after one was deleted: %v", got)
	}
	for _, gone := range []string{ids[0], id(9999), "../nodes/x", ""} {
		if _, err := w.fleet.Snapshot(t.Context(), gone); !errors.Is(err, blobstore.ErrSnapshotUnknown) {
			t.Errorf("get %q: %v", gone, err)
		}
		if err := w.fleet.DeleteSnapshot(t.Context(), gone); !errors.Is(err, blobstore.ErrSnapshotUnknown) {
			t.Errorf("delete %q: %v", gone, err)
		}
	}
	// The image is not touched.
	if _, err := w.images.Get(t.Context(), repo, reference.Locator{Digest: i.Digest}); err != nil {
		t.Error(err)
	}
}

func TestRegisteredByTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	i := w.push(t, repo, "base", "diff")
	s := snapshot(id(1), i)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := w.fleet.Register(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
