package verify_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/reference"
)

const repo, other = reference.Repository("demo/app"), reference.Repository("demo/other")

// A world is a bucket that tests damage, and the servers over it.
type world struct {
	t      testing.TB
	clock  *storetest.Clock
	bucket *storetest.Bucket
	store  *blobstore.Store
	images *images.Images
}

func newWorld(t testing.TB, b bucket.Bucket, c *storetest.Clock) *world {
	w := &world{t: t, clock: c, bucket: &storetest.Bucket{Bucket: b}}
	w.store = storetest.Open(t, w.bucket, c)
	w.images = images.New(w.store, nil, images.Options{Logger: storetest.Quiet()})
	return w
}

// inMemory is a world of which a test may damage everything at no cost.
func inMemory(t testing.TB) *world {
	c := storetest.NewClock()
	return newWorld(t, storetest.NewBucket(c), c)
}

// buckets runs a test on each kind of bucket.
func buckets(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("memory", func(t *testing.T) { f(t, inMemory(t)) })
	t.Run("file", func(t *testing.T) {
		b, err := file.Open(t.TempDir(), file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := storetest.NewClock()
		c.Turn(time.Since(c.Now())) // the folder's clock is the machine's
		f(t, newWorld(t, b, c))
	})
}

// image pushes an image with a layer inside its record and a large one.
func (w *world) image(in reference.Repository, seed string, tags ...reference.Tag) storetest.Image {
	w.t.Helper()
	b, ok := built.Load(seed)
	if !ok {
		b = storetest.Build{Tars: [][]byte{storetest.Tar(100, seed+"-small"), storetest.Tar(70_000, seed+"-large")}}.Image()
		built.Store(seed, b)
	}
	i := b.(storetest.Image)
	w.push(in, i, tags...)
	return i
}

// built are images by their seeds: compressing them took most of the tests' time.
var built sync.Map

func (w *world) push(in reference.Repository, i storetest.Image, tags ...reference.Tag) {
	w.t.Helper()
	storetest.PushBlobs(w.t, w.store, in, i)
	_, err := w.images.Put(context.Background(), in, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest, Tags: tags})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run verifies on a server of its own, as after a restart.
func (w *world) run(o verify.RunOptions) verify.Report {
	w.t.Helper()
	r, err := w.verifier(verify.Options{}).Run(context.Background(), o)
	w.must(err)
	return r
}

func (w *world) verifier(o verify.Options) *verify.Verifier {
	s := storetest.Open(w.t, w.bucket, w.clock)
	o.Logger, o.Temp = storetest.Quiet(), w.t.TempDir()
	return verify.New(s, images.New(s, nil, images.Options{Logger: storetest.Quiet()}), o)
}

// clean wants a run to find nothing.
func (w *world) clean() verify.Report {
	w.t.Helper()
	r := w.run(verify.RunOptions{Restart: true})
	if r.Bad != 0 || len(r.Findings) != 0 {
		w.t.Fatalf("a clean store: %s", show(r))
	}
	return r
}

// data is the key of the only copy of a blob.
func (w *world) data(d digest.Digest) string {
	w.t.Helper()
	info, err := w.store.Describe(context.Background(), d)
	w.must(err)
	if len(info.Copies) != 1 {
		w.t.Fatalf("%s has the copies %v", d, info.Copies)
	}
	return blobstore.DataPrefix + info.Copies[0]
}

func (w *world) get(key string) []byte {
	w.t.Helper()
	r, _, err := w.bucket.Bucket.Get(context.Background(), key, 0, -1)
	w.must(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	w.must(err)
	return b
}

func (w *world) set(key string, b []byte) {
	w.t.Helper()
	_, err := w.bucket.Bucket.Put(context.Background(), key, bytes.NewReader(b), int64(len(b)), bucket.Condition{})
	w.must(err)
}

func (w *world) remove(key string) {
	w.t.Helper()
	w.must(w.bucket.Bucket.Delete(context.Background(), key))
}

// flip changes a bit in the middle of an object.
func (w *world) flip(key string) {
	w.t.Helper()
	b := w.get(key)
	b[len(b)/2] ^= 4
	w.set(key, b)
}

// pull reads an image as a client of the repository does that has no caches.
func (w *world) pull(in reference.Repository, i storetest.Image, tag reference.Tag) error {
	ctx := context.Background()
	s := blobstore.New(w.bucket, blobstore.Options{Clock: w.clock, Logger: storetest.Quiet()})
	defer s.Close(ctx)
	im := images.New(s, nil, images.Options{Logger: storetest.Quiet()})
	l := reference.Locator{Tag: tag}
	if tag == "" {
		l = reference.Locator{Digest: i.Digest}
	}
	if _, err := im.Get(ctx, in, l); err != nil {
		return err
	}
	for d := range i.Blobs {
		r, err := s.Open(ctx, in, d, 0, -1)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func show(r verify.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString("\n  " + string(f.Kind) + " " + f.Subject + " in " + string(f.Repository) + ": " + f.Problem + " [" + f.Done + "]")
		for _, i := range f.Images {
			b.WriteString("\n    " + string(i.Repository) + " " + string(i.Manifest))
			for _, t := range i.Tags {
				b.WriteString(" " + string(t))
			}
		}
	}
	return b.String()
}

// only wants one finding, and returns it.
func only(t testing.TB, r verify.Report) verify.Finding {
	t.Helper()
	if len(r.Findings) != 1 {
		t.Fatalf("%d findings, want 1:%s", len(r.Findings), show(r))
	}
	return r.Findings[0]
}

// names wants a finding to name the image and its tags, and no other.
func names(t testing.TB, f verify.Finding, in reference.Repository, manifest digest.Digest, tags ...reference.Tag) {
	t.Helper()
	if len(f.Images) != 1 || f.ImagesTotal != 1 {
		t.Fatalf("it names the images %+v", f.Images)
	}
	if i := f.Images[0]; i.Repository != in || i.Manifest != manifest || !slices.Equal(i.Tags, tags) {
		t.Errorf("it names the image %+v, want %s %s %v", i, in, manifest, tags)
	}
}
