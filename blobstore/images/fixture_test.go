package images_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

const (
	repo  = reference.Repository("demo/app")
	other = reference.Repository("demo/other")
)

// A server is all that one process has over a bucket.
type server struct {
	*images.Images
	store   *blobstore.Store
	checker *layers.Checker
}

// A world is a bucket and the time.
type world struct {
	clock  *storetest.Clock
	tricky *storetest.Bucket
	bucket *count.Bucket
}

func newWorld() *world {
	w := &world{clock: storetest.NewClock()}
	w.tricky = &storetest.Bucket{Bucket: storetest.NewBucket(w.clock)}
	w.bucket = count.New(w.tricky)
	return w
}

// server starts one more server over the bucket.
func (w *world) server(t testing.TB, o images.Options) *server {
	t.Helper()
	s := storetest.Open(t, w.bucket, w.clock)
	c := layers.New(s, layers.Options{Logger: storetest.Quiet()})
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close the checker: %v", err)
		}
	})
	o.Logger = storetest.Quiet()
	return &server{images.New(s, c, o), s, c}
}

func newServer(t testing.TB) (*server, *world) {
	t.Helper()
	w := newWorld()
	return w.server(t, images.Options{}), w
}

// layered is an image of as many layers, that differ with the seed.
func layered(seed string, n int) storetest.Image {
	b := storetest.Build{}
	for i := range n {
		name := seed + "-" + string(rune('a'+i))
		b.Tars = append(b.Tars, storetest.Tar(100, name))
		b.History = append(b.History, ocispec.History{CreatedBy: "ADD " + name})
	}
	return b.Image()
}

// push stores the image with its blobs, under the tags.
func (s *server) push(t testing.TB, repo reference.Repository, i storetest.Image, tags ...reference.Tag) images.Manifest {
	t.Helper()
	storetest.PushBlobs(t, s.store, repo, i)
	m, err := s.put(repo, i, tags...)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return m
}

func (s *server) put(repo reference.Repository, i storetest.Image, tags ...reference.Tag) (images.Manifest, error) {
	return s.Put(context.Background(), repo, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest, Tags: tags})
}

// names returns the digest that a tag names, "" if it names none.
func (s *server) names(t testing.TB, repo reference.Repository, tag reference.Tag) digest.Digest {
	t.Helper()
	d, err := s.Resolve(context.Background(), repo, reference.Locator{Tag: tag})
	if errors.Is(err, blobstore.ErrManifestUnknown) {
		return ""
	}
	if err != nil {
		t.Fatalf("resolve %s: %v", tag, err)
	}
	return d.Digest
}

func (s *server) has(t testing.TB, repo reference.Repository, d digest.Digest) bool {
	t.Helper()
	_, err := s.Get(context.Background(), repo, reference.Locator{Digest: d})
	if err != nil && !errors.Is(err, blobstore.ErrManifestUnknown) {
		t.Fatalf("get %s: %v", d, err)
	}
	return err == nil
}

// tags lists what Tags gives and sees to it that TagNames gives the same.
func (s *server) tags(t testing.TB, repo reference.Repository, after reference.Tag) map[reference.Tag]digest.Digest {
	t.Helper()
	got := map[reference.Tag]digest.Digest{}
	var order, names []reference.Tag
	for info, err := range s.Tags(t.Context(), repo, after) {
		if err != nil {
			t.Fatal(err)
		}
		got[info.Tag] = info.Digest
		order = append(order, info.Tag)
	}
	for tag, err := range s.TagNames(t.Context(), repo, after) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tag)
	}
	if len(names) != len(order) {
		t.Errorf("tags %q, names %q", order, names)
	}
	for i := range order {
		if i < len(names) && names[i] != order[i] || i > 0 && order[i-1] >= order[i] {
			t.Errorf("tags %q, names %q", order, names)
			break
		}
	}
	return got
}

// calls runs f and returns how many calls the bucket got for it, without those
// that something else does in the background.
func (w *world) calls(t testing.TB, f func()) int {
	t.Helper()
	w.bucket.Reset()
	f()
	n := 0
	for call := range strings.Lines(w.bucket.Log()) {
		if !strings.Contains(call, " layers/") && !strings.Contains(call, "delete ") {
			n++
		}
	}
	return n
}

// collect makes a blob what a collector makes it in the end: gone.
func (w *world) collect(t testing.TB, d digest.Digest) {
	t.Helper()
	var r map[string]any
	key := blobstore.BlobKey(d)
	readJSON(t, w.tricky, key, &r)
	r["state"], r["rev"] = "gone", "collected"
	delete(r, "inline")
	writeJSON(t, w.tricky, key, r)
}

const (
	grace = 72 * time.Hour
	lease = time.Second
)

// stop returns a hook that stops the first put under a key with the prefix
// before it reaches the bucket, a channel that is closed when it has stopped
// there, and one to close to let it go on.
func stop(prefix string) (hook storetest.Hook, stopped, goOn chan struct{}) {
	stopped, goOn = make(chan struct{}), make(chan struct{})
	first := make(chan struct{}, 1)
	first <- struct{}{}
	return func(op, key string, pass func() error) error {
		if op == "put" && strings.HasPrefix(key, prefix) {
			select {
			case <-first:
				close(stopped)
				<-goOn
			default:
			}
		}
		return pass()
	}, stopped, goOn
}

var _ bucket.Bucket = (*count.Bucket)(nil)

// failPut returns a hook by which the bucket does not answer a put under keys
// with the prefix.
func failPut(prefix string) storetest.Hook {
	return func(op, key string, pass func() error) error {
		if op == "put" && strings.HasPrefix(key, prefix) {
			return bucket.ErrUnavailable
		}
		return pass()
	}
}
