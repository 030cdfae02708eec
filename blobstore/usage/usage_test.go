package usage_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/usage"
	"github.com/laminastore/lamina/reference"
)

type world struct {
	clock  *storetest.Clock
	tricky *storetest.Bucket
	bucket *count.Bucket
	store  *blobstore.Store
	images *images.Images
	// collector is that of the last counter.
	collector *collect.Collector
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: storetest.NewClock()}
	w.tricky = &storetest.Bucket{Bucket: storetest.NewBucket(w.clock)}
	w.bucket = count.New(w.tricky)
	w.store = storetest.Open(t, w.bucket, w.clock)
	w.images = images.New(w.store, nil, images.Options{Logger: storetest.Quiet()})
	return w
}

func (w *world) counter(t *testing.T) *usage.Counter { return w.counterOf(t, realm.Map{}) }

// counterOf is a counter, and the collector whose marks it counts by.
func (w *world) counterOf(t *testing.T, m realm.Map) *usage.Counter {
	c := usage.New(w.store, usage.Options{Logger: storetest.Quiet(), Realms: m, Temp: t.TempDir()})
	w.collector = collect.New(w.store, w.images, fleet.New(w.store, w.images), collect.Options{
		Logger: storetest.Quiet(), Realms: m, Temp: t.TempDir(), Tally: c.Tally,
	})
	col := w.collector
	c.MarkWith(func(ctx context.Context) error { return col.Count(ctx, nil) })
	return c
}

func (w *world) push(t *testing.T, repo reference.Repository, i storetest.Image, tags ...reference.Tag) storetest.Image {
	t.Helper()
	storetest.PushBlobs(t, w.store, repo, i)
	if _, err := w.images.Put(t.Context(), repo, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	return i
}

func (w *world) get(t *testing.T, refresh bool) usage.Usage {
	t.Helper()
	u, err := w.counter(t).Get(t.Context(), refresh)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// pushed is when a repository got an image.
func (w *world) pushed(t *testing.T, repo reference.Repository, i storetest.Image) time.Time {
	t.Helper()
	s, err := w.images.Summary(t.Context(), repo, reference.Locator{Digest: i.Digest})
	if err != nil {
		t.Fatal(err)
	}
	return s.Pushed
}

// size is what the image names, itself included.
func size(i storetest.Image) int64 {
	n := int64(len(i.Manifest))
	for _, b := range i.Blobs {
		n += int64(len(b))
	}
	return n
}

func TestCount(t *testing.T) {
	w := newWorld(t)
	base := storetest.Tar(100_000, "base")
	a := storetest.Build{Tars: [][]byte{base, storetest.Tar(1000, "a")}}.Image()
	b := storetest.Build{Tars: [][]byte{base, storetest.Tar(2000, "b")}}.Image()
	w.push(t, "demo/a", a, "1", "latest")
	pushed := w.pushed(t, "demo/a", a)
	w.clock.Turn(time.Hour)
	w.push(t, "demo/b", a, "1")
	w.clock.Turn(time.Hour)
	w.push(t, "demo/b", b, "2")
	loose := []byte("named by nobody")
	if _, err := w.store.Put(t.Context(), "demo/c", digest.FromBytes(loose), int64(len(loose)), bytes.NewReader(loose)); err != nil {
		t.Fatal(err)
	}
	baseSize := int64(len(b.Blobs[b.Layers[0]]))
	before := w.clock.Now()
	got := w.get(t, true)
	want := usage.Usage{
		CountedAt: before,
		Named:     2*size(a) + size(b), Stored: size(a) + size(b) - baseSize, Unnamed: int64(len(loose)),
		Blobs: 4 + 3 + 1, Manifests: 2,
		Repositories: []usage.Repository{
			{Name: "demo/a", Tags: 2, Manifests: 1, Named: size(a), Stored: size(a), Oldest: pushed},
			{Name: "demo/b", Tags: 2, Manifests: 2, Named: size(a) + size(b), Stored: size(a) + size(b) - baseSize, Own: size(b) - baseSize, Oldest: w.pushed(t, "demo/b", a)},
		},
		Largest: []usage.Image{
			{Repository: "demo/b", Digest: b.Digest, Size: size(b), Pushed: w.pushed(t, "demo/b", b)},
			{Repository: "demo/a", Digest: a.Digest, Size: size(a), Pushed: pushed},
		},
		Oldest: []usage.Image{
			{Repository: "demo/a", Digest: a.Digest, Size: size(a), Pushed: pushed},
			{Repository: "demo/b", Digest: a.Digest, Size: size(a), Pushed: w.pushed(t, "demo/b", a)},
			{Repository: "demo/b", Digest: b.Digest, Size: size(b), Pushed: w.pushed(t, "demo/b", b)},
		},
	}
	shared, largest := got.Shared, got.LargestBlobs
	got.Shared, got.LargestBlobs = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first := usage.Shared{Digest: a.Layers[0], Size: baseSize, Images: 3, Repositories: []reference.Repository{"demo/a", "demo/b"}}
	if len(shared) != 4 || !cmp.Equal(shared[0], first) {
		t.Errorf("shared: %+v", shared)
	}
	if len(largest) != 7 || !cmp.Equal(largest[0], first) || largest[1].Digest != b.Layers[1] || largest[1].Images != 1 {
		t.Errorf("largest: %+v", largest)
	}

	// What is deleted is no longer named, and still there.
	if err := w.images.Delete(t.Context(), "demo/b", b.Digest); err != nil {
		t.Fatal(err)
	}
	if u := w.get(t, true); u.Unnamed != int64(len(loose))+size(b)-baseSize || u.Stored != size(a) || u.Repositories[1].Tags != 1 {
		t.Errorf("after one image was deleted: %+v", u)
	}
}

func TestIndexKeepsWhatItNames(t *testing.T) {
	w := newWorld(t)
	a := w.push(t, "demo/a", storetest.Build{Tars: [][]byte{storetest.Tar(1000, "a")}}.Image())
	index := w.push(t, "demo/a", storetest.Index(a.Descriptor()), "1")
	all := size(a) + int64(len(index.Manifest))
	if u := w.get(t, true); u.Stored != all || u.Named != all || u.Manifests != 2 || u.Unnamed != 0 {
		t.Errorf("%+v", u)
	}
	if err := w.images.Delete(t.Context(), "demo/a", a.Digest); err != nil {
		t.Fatal(err)
	}
	if u := w.get(t, true); u.Stored != all || u.Unnamed != 0 {
		t.Errorf("after the manifest's own link was removed: %+v", u)
	}
}

func TestForeignLayersTakeNothing(t *testing.T) {
	w := newWorld(t)
	i := w.push(t, "demo/a", storetest.Build{Change: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers = []ocispec.Descriptor{{
			MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromString("x"), Size: 1 << 40,
			URLs: []string{"https://elsewhere.example"},
		}}
	}}.Image())
	if u := w.get(t, true); u.Named != size(i) || u.Stored != size(i) {
		t.Errorf("%+v", u)
	}
}

func TestLastCountIsServedUntilSomebodyCountsAgain(t *testing.T) {
	w := newWorld(t)
	if u := w.get(t, false); u.Blobs != 0 || !u.CountedAt.Equal(w.clock.Now()) {
		t.Errorf("the first: %+v", u)
	}
	w.push(t, "demo/a", storetest.Build{}.Image(), "1")
	first := w.clock.Now()
	w.clock.Turn(time.Hour)
	w.bucket.Reset()
	if u := w.get(t, false); u.Blobs != 0 || !u.CountedAt.Equal(first) {
		t.Errorf("not refreshed: %+v", u)
	}
	if n := w.bucket.Snapshot().Total(); n != 1 {
		t.Errorf("%d calls", n)
	}
	refreshed := w.get(t, true)
	if refreshed.Blobs != 2 || !refreshed.CountedAt.Equal(w.clock.Now()) {
		t.Errorf("refreshed: %+v", refreshed)
	}
	if diff := cmp.Diff(refreshed, w.get(t, false)); diff != "" {
		t.Error(diff)
	}
}

func TestCallsThatComeTogetherShareACount(t *testing.T) {
	w := newWorld(t)
	w.push(t, "demo/a", storetest.Build{}.Image(), "1")
	c := w.counter(t)
	stopped, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.tricky.Set(func(op, key string, pass func() error) error {
		if op == "put" && strings.HasPrefix(key, "stats/") {
			once.Do(func() {
				close(stopped)
				<-goOn
			})
		}
		return pass()
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := c.Get(ctx, true)
		first <- err
	}()
	<-stopped
	impatient, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Get(impatient, true); !errors.Is(err, context.Canceled) {
		t.Errorf("one that does not wait: %v", err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if u, err := c.Get(t.Context(), true); err != nil || u.Blobs != 2 {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
	cancel() // the one that counts goes away: the others are served all the same
	close(goOn)
	<-first
	all.Wait()
}

func TestTroubleIsNoCount(t *testing.T) {
	w := newWorld(t)
	w.push(t, "demo/a", storetest.Build{}.Image(), "1")
	before := w.get(t, true)
	w.tricky.Set(func(op, key string, pass func() error) error {
		if strings.HasPrefix(key, "repos/") {
			return bucket.ErrUnavailable
		}
		return pass()
	})
	w.clock.Turn(time.Hour)
	if _, err := w.counter(t).Get(t.Context(), true); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, w.get(t, false)); diff != "" {
		t.Error(diff)
	}
}
