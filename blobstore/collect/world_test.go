package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

const repo = reference.Repository("demo/app")

// A hooked bucket calls a hook before each call, and before each key of a
// listing ("next"). An error of the hook is that of the call.
type hooked struct {
	*memory.Bucket
	mu   sync.Mutex
	hook func(ctx context.Context, op, key string) error
}

func (b *hooked) set(hook func(ctx context.Context, op, key string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

func (b *hooked) call(ctx context.Context, op, key string) error {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op, key)
}

func (b *hooked) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if err := b.call(ctx, "get", key); err != nil {
		return nil, bucket.Info{}, err
	}
	return b.Bucket.Get(ctx, key, off, n)
}

func (b *hooked) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := b.call(ctx, "stat", key); err != nil {
		return bucket.Info{}, err
	}
	return b.Bucket.Stat(ctx, key)
}

func (b *hooked) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := b.call(ctx, "put", key); err != nil {
		return bucket.Info{}, err
	}
	return b.Bucket.Put(ctx, key, r, size, cond)
}

func (b *hooked) Delete(ctx context.Context, keys ...string) error {
	if err := b.call(ctx, "delete", strings.Join(keys, " ")); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, keys...)
}

func (b *hooked) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	if err := b.call(ctx, "deleteif", key); err != nil {
		return err
	}
	return b.Bucket.DeleteIf(ctx, key, etag)
}

func (b *hooked) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		if err := b.call(ctx, "list", prefix); err != nil {
			yield(bucket.Info{}, err)
			return
		}
		// Key by key, so that what happens in between is seen, as between pages.
		for {
			more := false
			for info, err := range b.Bucket.List(ctx, prefix, after) {
				if err == nil {
					err = b.call(ctx, "next", info.Key)
				}
				if !yield(info, err) || err != nil {
					return
				}
				after, more = info.Key, true
				break
			}
			if !more {
				return
			}
		}
	}
}

// A world is a bucket and the time, with one server over it.
type world struct {
	t      testing.TB
	clock  *storetest.Clock
	bucket *hooked
	store  *blobstore.Store
	images *images.Images
	fleet  *fleet.Fleet
	*Collector
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	c := storetest.NewClock()
	return serve(t, &hooked{Bucket: storetest.NewBucket(c)}, c, o)
}

// serve returns one more server over a bucket.
func serve(t testing.TB, b *hooked, c *storetest.Clock, o Options) *world {
	t.Helper()
	w := &world{t: t, clock: c, bucket: b, store: storetest.Open(t, b, c)}
	w.images = images.New(w.store, nil, images.Options{AllowSparse: true, Logger: storetest.Quiet()})
	w.fleet = fleet.New(w.store, w.images)
	o.Logger = storetest.Quiet()
	if o.Temp == "" {
		o.Temp = t.TempDir()
	}
	w.Collector = New(w.store, w.images, w.fleet, o)
	return w
}

// client is a server that others use, until end is called: then nothing goes on
// in the background any more.
func (w *world) client() (c *world, end func()) {
	w.t.Helper()
	c = &world{t: w.t, clock: w.clock, bucket: w.bucket, store: blobstore.New(w.bucket, blobstore.Options{Clock: w.clock, Logger: storetest.Quiet()})}
	c.images = images.New(c.store, nil, images.Options{AllowSparse: true, Logger: storetest.Quiet()})
	c.fleet = fleet.New(c.store, c.images)
	return c, func() { w.must(c.store.Close(context.Background())) }
}

// another is one more server.
func (w *world) another(o Options) *world { return serve(w.t, w.bucket, w.clock, o) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// image is one of a layer of n bytes that differ with the seed, and a small one.
func image(seed string, n int) storetest.Image {
	return storetest.Build{Tars: [][]byte{storetest.Tar(n, seed), storetest.Tar(10, seed+"-small")}}.Image()
}

// push stores an image with its blobs, under the tags. Nothing of it goes on in
// the background, so that the clock stands still then.
func (w *world) push(in reference.Repository, i storetest.Image, tags ...reference.Tag) {
	w.t.Helper()
	if w.Collector != nil {
		c, end := w.client()
		defer end()
		w = c
	}
	storetest.PushBlobs(w.t, w.store, in, i)
	_, err := w.images.Put(w.t.Context(), in, images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest, Tags: tags})
	w.must(err)
}

func (w *world) put(in reference.Repository, seed string, n int) digest.Digest {
	w.t.Helper()
	if w.Collector != nil {
		c, end := w.client()
		defer end()
		w = c
	}
	b := storetest.Bytes(n, seed)
	d := digest.FromBytes(b)
	_, err := w.store.Put(w.t.Context(), in, d, int64(n), bytes.NewReader(b))
	w.must(err)
	return d
}

func (w *world) rm(in reference.Repository, d digest.Digest) {
	w.t.Helper()
	w.must(w.images.Delete(w.t.Context(), in, d))
}

// cycle runs one cycle, after d.
func (w *world) cycle(d time.Duration) Report {
	w.t.Helper()
	w.clock.Turn(d)
	r, err := w.Run(w.t.Context(), RunOptions{})
	w.must(err)
	return r
}

// cycles runs n cycles a day apart.
func (w *world) cycles(n int) {
	w.t.Helper()
	for range n {
		w.cycle(24 * time.Hour)
	}
}

// copy is a world of its own as this one is now, with one call after the other.
// Nothing may go on in the background of this one.
func (w *world) copy() *world {
	w.t.Helper()
	clock := storetest.NewClock()
	clock.Turn(w.clock.Now().Sub(clock.Now()))
	b := storetest.NewBucket(clock)
	for key, content := range w.content() {
		_, err := b.Put(context.Background(), key, strings.NewReader(content), int64(len(content)), bucket.Condition{})
		w.must(err)
	}
	return serve(w.t, &hooked{Bucket: b}, clock, Options{Parallel: 1, Temp: w.options.Temp})
}

// finish runs cycles until all that is garbage now, or when a node has been
// silent for long enough, can be gone.
func (w *world) finish() {
	w.t.Helper()
	for _, days := range []int{1, 1, 31, 1, 2, 6, 6} {
		w.cycle(time.Duration(days) * 24 * time.Hour)
	}
}

// state is what becomes of a blob: "live", "condemned", "gone" or "none".
func (w *world) state(d digest.Digest) string {
	w.t.Helper()
	b, err := w.store.Describe(w.t.Context(), d)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		return "none"
	}
	w.must(err)
	return b.State
}

// all are the digests of an image, in order.
func all(is ...storetest.Image) []digest.Digest {
	var ds []digest.Digest
	for _, i := range is {
		ds = append(ds, i.Digest)
		for d := range i.Blobs {
			ds = append(ds, d)
		}
	}
	slices.Sort(ds)
	return slices.Compact(ds)
}

// want checks the state of blobs.
func (w *world) want(state string, ds ...digest.Digest) {
	w.t.Helper()
	for _, d := range ds {
		if is := w.state(d); is != state {
			w.t.Errorf("%s is %s, not %s", d, is, state)
		}
	}
}

// readable checks that blobs can be read, without promising them.
func (w *world) readable(ds ...digest.Digest) {
	w.t.Helper()
	for _, d := range ds {
		if _, err := w.store.Peek(context.Background(), d, 1<<30); err != nil {
			w.t.Errorf("lost: %v", err)
		}
	}
}

// content is all that the bucket has, by key.
func (w *world) content() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for info, err := range w.bucket.Bucket.List(context.Background(), "", "") {
		w.must(err)
		r, _, err := w.bucket.Bucket.Get(context.Background(), info.Key, 0, -1)
		w.must(err)
		b, err := io.ReadAll(r)
		w.must(err)
		out[info.Key] = string(b)
	}
	return out
}

// keys are those of the bucket that begin with one of the prefixes.
func (w *world) keys(prefixes ...string) []string {
	w.t.Helper()
	var out []string
	for _, p := range prefixes {
		for info, err := range w.bucket.Bucket.List(context.Background(), p, "") {
			w.must(err)
			out = append(out, info.Key)
		}
	}
	return out
}

// garbage are the keys under which nothing is left when all is collected.
var garbage = []string{"blobs/", "data/", "uploads/", "repos/", "nodes/", "snapshots/"}

var errBroken = fmt.Errorf("%w: broken by the test", bucket.ErrUnavailable)
