package layers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

const (
	repo     = reference.Repository("demo/app")
	gzipped  = ocispec.MediaTypeImageLayerGzip
	patience = 2 * time.Minute
)

func newChecker(t *testing.T, s *blobstore.Store, o layers.Options) *layers.Checker {
	t.Helper()
	o.Logger = storetest.Quiet()
	c := layers.New(s, o)
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// A server is a store and a checker over a bucket that others may share.
func server(t *testing.T, b bucket.Bucket, o layers.Options) (*blobstore.Store, *layers.Checker) {
	t.Helper()
	s := storetest.Open(t, b, storetest.NewClock())
	return s, newChecker(t, s, o)
}

func put(t *testing.T, s *blobstore.Store, b []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(b)
	if _, err := s.Put(t.Context(), repo, d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return d
}

// wait is Wait that must not take forever.
func wait(t *testing.T, c *layers.Checker, layer, diffID digest.Digest) (layers.State, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, problem, err := c.Wait(ctx, repo, layer, diffID)
	if err != nil {
		t.Fatal(err)
	}
	return s, problem
}

type layerRecord struct {
	DiffID digest.Digest `json:"diffID"`
	Form   string        `json:"form"`
	Size   int64         `json:"size"`
	Blobs  map[digest.Digest]struct {
		Size      int64     `json:"size"`
		MediaType string    `json:"mediaType"`
		CheckedAt time.Time `json:"checkedAt"`
	} `json:"blobs"`
}

func readRecord(t *testing.T, b bucket.Bucket, diffID digest.Digest) (r layerRecord, there bool) {
	t.Helper()
	src, _, err := b.Get(t.Context(), layers.Key(realm.Default, diffID), 0, -1)
	if errors.Is(err, bucket.ErrNotExist) {
		return r, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := json.NewDecoder(src).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r, true
}

func TestLayerIsCheckedAndRecorded(t *testing.T) {
	b := storetest.NewBucket(storetest.NewClock())
	s, c := server(t, b, layers.Options{})
	tar := storetest.Tar(1000, "a")
	blob := storetest.Gzip(tar)
	layer, diffID := put(t, s, blob), digest.FromBytes(tar)

	if state, problem := wait(t, c, layer, diffID); state != layers.Plain {
		t.Fatalf("%v: %s", state, problem)
	}
	c.Want(repo, layer, gzipped, diffID)
	r, _ := readRecord(t, b, diffID)
	if r.DiffID != diffID || r.Form != "plain" || r.Size != int64(len(tar)) || r.Blobs[layer].Size != int64(len(blob)) {
		t.Errorf("recorded %+v", r)
	}
	if v, err := s.VerdictOf(t.Context(), layer); v != nil || err != nil {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

func TestBadLayersSayWhatIsWrong(t *testing.T) {
	tar := storetest.Tar(1000, "a")
	actual, claimed := digest.FromBytes(tar), digest.FromString("another")
	for _, c := range []struct {
		name    string
		blob    []byte
		problem []string
	}{
		{"diffID that is not the config's", storetest.Gzip(tar), []string{string(actual), string(claimed), "build and push the image again"}},
		{"no tar", []byte("this is no tar"), []string{"it is no tar", "build and push the image again"}},
		{"bomb", storetest.Gzip(append(storetest.Tar(1, "a"), make([]byte, 2<<20)...)), []string{"times its own size", "again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := storetest.NewBucket(storetest.NewClock())
			o := layers.Options{RatioFrom: 1 << 20, MaxRatio: 10}
			s, checker := server(t, b, o)
			layer := put(t, s, c.blob)
			state, problem := wait(t, checker, layer, claimed)
			check := func() {
				t.Helper()
				if state != layers.Invalid {
					t.Fatalf("state %v", state)
				}
				for _, want := range append(c.problem, string(layer)) {
					if !strings.Contains(problem, want) {
						t.Errorf("problem %q says nothing of %q", problem, want)
					}
				}
				if _, there := readRecord(t, b, claimed); there {
					t.Error("the diffID that was claimed has a record")
				}
			}
			check()
			// Another server knows it without looking into the blob.
			_, other := server(t, b, o)
			if err := other.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			var err error
			if state, problem, err = other.State(t.Context(), repo, layer, claimed); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
}

// Whoever pushes a blob under another's diffID changes nothing for those whose
// layer has it.
func TestFalseClaimDoesNotSpoilTheDiffID(t *testing.T) {
	b := storetest.NewBucket(storetest.NewClock())
	s, c := server(t, b, layers.Options{})
	good, evil := storetest.Tar(100, "good"), storetest.Tar(100, "evil")
	diffID := digest.FromBytes(good)
	evilLayer := put(t, s, storetest.Gzip(evil))
	if state, _ := wait(t, c, evilLayer, diffID); state != layers.Invalid {
		t.Fatalf("evil: %v", state)
	}
	goodLayer := put(t, s, storetest.Gzip(good))
	if state, problem := wait(t, c, goodLayer, diffID); state != layers.Plain {
		t.Fatalf("good: %v %s", state, problem)
	}
	if state, _ := wait(t, c, evilLayer, diffID); state != layers.Invalid {
		t.Errorf("evil, asked again: %v", state)
	}
	if r, _ := readRecord(t, b, diffID); len(r.Blobs) != 1 {
		t.Errorf("recorded %+v", r)
	}
	// The evil blob is a good layer of what it is.
	if state, problem := wait(t, c, evilLayer, digest.FromBytes(evil)); state != layers.Plain {
		t.Errorf("evil as itself: %v %s", state, problem)
	}
}

func TestOneTarInSeveralBlobsIsOneLayer(t *testing.T) {
	b := storetest.NewBucket(storetest.NewClock())
	s1, c1 := server(t, b, layers.Options{})
	s2, c2 := server(t, b, layers.Options{})
	tar := storetest.Tar(1000, "a")
	diffID := digest.FromBytes(tar)
	l1, l2, l3 := put(t, s1, storetest.Gzip(tar)), put(t, s2, storetest.Zstd(tar)), put(t, s2, tar)
	var all sync.WaitGroup
	all.Go(func() { wait(t, c1, l1, diffID) })
	all.Go(func() { wait(t, c2, l2, diffID) })
	all.Go(func() { wait(t, c2, l3, diffID) })
	all.Wait()
	if r, _ := readRecord(t, b, diffID); len(r.Blobs) != 3 {
		t.Errorf("recorded %+v", r)
	}
}

// The tar is the layer, in however many ways it is compressed.
func TestRecordOfALayerDoesNotGrowWithoutEnd(t *testing.T) {
	b := storetest.NewBucket(storetest.NewClock())
	s, c := server(t, b, layers.Options{})
	tar := storetest.Tar(10, "a")
	diffID := digest.FromBytes(tar)
	for i := range 70 {
		// A skippable frame makes another blob of the same tar.
		blob := append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, byte(i)}, storetest.Zstd(tar)...)
		layer := put(t, s, blob)
		if state, problem := wait(t, c, layer, diffID); state != layers.Plain {
			t.Fatalf("blob %d: %v %s", i, state, problem)
		}
		_, other := server(t, b, layers.Options{})
		if state, problem, err := other.State(t.Context(), repo, layer, diffID); state != layers.Plain || err != nil {
			t.Fatalf("blob %d, another server: %v %s %v", i, state, problem, err)
		}
	}
	if r, _ := readRecord(t, b, diffID); len(r.Blobs) > 64 {
		t.Errorf("%d blobs", len(r.Blobs))
	}
}

func TestCommonCaseTakesOneCallAndReadsNothing(t *testing.T) {
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	counted := count.New(tricky)
	s, c := server(t, counted, layers.Options{})
	tar := storetest.Tar(1<<20, "a")
	layer, diffID := put(t, s, storetest.Gzip(tar)), digest.FromBytes(tar)
	counted.Reset()
	recorded := recorded(tricky)
	c.Want(repo, layer, gzipped, diffID)
	await(t, recorded)
	for call := range strings.Lines(counted.Log()) {
		// The record of the upload goes in the background, some time.
		if call = strings.TrimSpace(call); call != "put "+layers.Key(realm.Default, diffID) && !strings.Contains(call, " uploads/") {
			t.Errorf("a call that is not needed: %s", call)
		}
	}
}

// recorded returns a channel that is closed when a layer's record has been
// written.
func recorded(b *storetest.Bucket) <-chan struct{} {
	done := make(chan struct{})
	b.Set(func(op, key string, pass func() error) error {
		err := pass()
		if op == "put" && strings.HasPrefix(key, "layers/") {
			close(done)
		}
		return err
	})
	return done
}

func await(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it does not happen")
	}
}

func TestKnownLayerIsNotReadAgain(t *testing.T) {
	counted := count.New(storetest.NewBucket(storetest.NewClock()))
	s, c := server(t, counted, layers.Options{})
	tar := storetest.Tar(1<<20, "a")
	layer, diffID := put(t, s, storetest.Gzip(tar)), digest.FromBytes(tar)
	wait(t, c, layer, diffID)

	_, other := server(t, counted, layers.Options{})
	counted.Reset()
	for range 3 {
		if state, _ := wait(t, other, layer, diffID); state != layers.Plain {
			t.Fatalf("state %v", state)
		}
	}
	if n := counted.Snapshot(); n.Total() != 1 || n.Get != 1 {
		t.Errorf("%s\n%s", n, counted.Log())
	}
}

func TestManyWhoAskAtOnceHaveItCheckedOnce(t *testing.T) {
	const many = 50
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, c := server(t, tricky, layers.Options{KeepBytes: 1, Workers: 8})
	tar := storetest.Tar(1<<20, "a")
	layer, diffID := put(t, s, storetest.Gzip(tar)), digest.FromBytes(tar)
	var asked, read atomic.Int32
	allAsked := make(chan struct{})
	tricky.Set(func(op, key string, pass func() error) error {
		switch {
		case op == "get" && strings.HasPrefix(key, "blobs/") && asked.Add(1) == many:
			close(allAsked)
		case strings.HasPrefix(key, "data/"):
			read.Add(1)
			<-allAsked
		}
		return pass()
	})
	var all sync.WaitGroup
	for range many {
		all.Go(func() { wait(t, c, layer, diffID) })
	}
	all.Wait()
	if n := read.Load(); n != 1 {
		t.Errorf("the data was read %d times", n)
	}
}

func TestWhatARestartInterruptedIsDoneWhenAsked(t *testing.T) {
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, first := server(t, tricky, layers.Options{})
	tar := storetest.Tar(1000, "a")
	layer, diffID := put(t, s, storetest.Gzip(tar)), digest.FromBytes(tar)
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.Want(repo, layer, gzipped, diffID) // comes too late
	if _, _, err := first.Wait(t.Context(), repo, layer, diffID); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("waiting for a closed one: %v", err)
	}

	recorded := recorded(tricky)
	_, second := server(t, tricky, layers.Options{})
	state, _, err := second.State(t.Context(), repo, layer, diffID)
	if state != layers.Pending || err != nil {
		t.Fatalf("state %v, %v", state, err)
	}
	await(t, recorded)
	if r, there := readRecord(t, tricky, diffID); !there {
		t.Errorf("recorded %+v", r)
	}
}

func TestTroubleWithTheBucketIsNoVerdict(t *testing.T) {
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, c := server(t, tricky, layers.Options{KeepBytes: 1})
	tar := storetest.Tar(1<<20, "a")
	layer, diffID := put(t, s, storetest.Gzip(tar)), digest.FromBytes(tar)
	tricky.Set(func(_, key string, pass func() error) error {
		if strings.HasPrefix(key, "data/") {
			return bucket.ErrUnavailable
		}
		return pass()
	})
	if state, _, err := c.Wait(t.Context(), repo, layer, diffID); state != layers.Pending || !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("while the bucket is gone: %v, %v", state, err)
	}
	tricky.Set(nil)
	if state, problem := wait(t, c, layer, diffID); state != layers.Plain {
		t.Errorf("afterwards: %v %s", state, problem)
	}
}

// Bytes that the bucket has damaged must not count against the blob: whoever
// pushes it again has pushed a good layer.
func TestDamagedCopyIsNoVerdict(t *testing.T) {
	mem := storetest.NewBucket(storetest.NewClock())
	first, _ := server(t, mem, layers.Options{})
	tar := storetest.Tar(1<<20, "a")
	layer, diffID := put(t, first, storetest.Gzip(tar)), digest.FromBytes(tar)
	s, c := server(t, mem, layers.Options{}) // one that has never seen the right bytes
	for info, err := range mem.List(t.Context(), "data/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mem.Put(t.Context(), info.Key, bytes.NewReader(bytes.Repeat([]byte("x"), int(info.Size))), info.Size, bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	if state, _, err := c.Wait(t.Context(), repo, layer, diffID); state != layers.Pending || !errors.Is(err, blobstore.ErrCorrupt) {
		t.Errorf("%v, %v", state, err)
	}
	if v, err := s.VerdictOf(t.Context(), layer); v != nil {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

func TestUnknownBlob(t *testing.T) {
	_, c := server(t, storetest.NewBucket(storetest.NewClock()), layers.Options{})
	if _, _, err := c.State(t.Context(), repo, digest.FromString("a"), digest.FromString("b")); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Error(err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	stopped := make(chan struct{})
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, c := server(t, tricky, layers.Options{Workers: 1, Queue: 2, KeepBytes: 1})
	var ls, ds []digest.Digest
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		tar := storetest.Tar(100<<10, name)
		ls, ds = append(ls, put(t, s, storetest.Gzip(tar))), append(ds, digest.FromBytes(tar))
	}
	tricky.Set(func(_, key string, pass func() error) error {
		if strings.HasPrefix(key, "data/") {
			<-stopped
		}
		return pass()
	})
	for i := range ls {
		c.Want(repo, ls[i], gzipped, ds[i])
	}
	close(stopped)
	// Those that found the queue full are checked when somebody asks.
	for i := range ls {
		if state, problem := wait(t, c, ls[i], ds[i]); state != layers.Plain {
			t.Errorf("layer %d: %v %s", i, state, problem)
		}
	}
}
