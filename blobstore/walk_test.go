package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// cycle is what a collector does when its mark has reached the blobs named: it
// judges every other one, and sweeps the uploads, and all data with full. A bucket
// that does not answer is no failure: the next cycle goes on.
func cycle(t tester, s *blobstore.Store, c *clock, b bucket.Bucket, named map[digest.Digest]bool, full bool) {
	t.Helper()
	ctx := context.Background()
	ok := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, bucket.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	began := c.Now()
	for _, key := range keys(t, b, "blobs/") {
		part := strings.Split(key, "/")
		d := digest.NewDigestFromEncoded(digest.Algorithm(part[0]), part[2])
		if named[d] {
			continue
		}
		_, err := s.Judge(ctx, d, began, false)
		ok(err)
	}
	for _, id := range keys(t, b, "uploads/") {
		_, err := s.SweepUpload(ctx, id, false)
		ok(err)
	}
	if full {
		led := map[string]bool{}
		for _, key := range keys(t, b, "blobs/") {
			part := strings.Split(key, "/")
			info, err := s.Describe(ctx, digest.NewDigestFromEncoded(digest.Algorithm(part[0]), part[2]))
			ok(err)
			for _, id := range info.Named() {
				led[id] = true
			}
		}
		for _, id := range keys(t, b, "data/") {
			if !led[id] {
				_, err := s.SweepData(ctx, id, false)
				ok(err)
			}
		}
	}
}

// clean runs as many cycles as it takes, and fails the test unless they leave the
// blobs named, each with one data object if it is not inline, and nothing else.
func clean(t tester, c *clock, b *unsure, named map[digest.Digest]bool) {
	t.Helper()
	ctx := context.Background()
	s := blobstore.New(b, exact(c))
	defer s.Close(ctx)
	for range 8 {
		c.Turn(orphanAge)
		cycle(t, s, c, b, named, false)
	}
	if left := keys(t, b, "uploads/"); len(left) > 0 {
		t.Fatalf("uploads %q are left", left)
	}
	if left := b.open(t); len(left) > 0 {
		t.Fatalf("parts of %q are left", left)
	}
	var data []string
	for d := range named {
		info, err := s.Describe(ctx, d)
		if err != nil || info.State == "gone" {
			t.Fatalf("%s, which is named: %+v, %v", d, info, err)
		}
		data = append(data, info.Named()...)
	}
	slices.Sort(data)
	if have := keys(t, b, "data/"); !slices.Equal(have, data) {
		t.Fatalf("the data is %q, and what is named has %q", have, data)
	}
	if n := len(keys(t, b, "blobs/")); n != len(named) {
		t.Fatalf("%d records of %d blobs", n, len(named))
	}
}

// A collector meets every kind of garbage, and any one of its writes goes wrong in
// any way. The next cycles finish what it began, and nothing that is named suffers.
func TestAnyWriteOfACollectorGoesWrong(t *testing.T) {
	ctx := t.Context()
	type state struct {
		c     *clock
		b     *unsure
		s     *blobstore.Store
		named map[digest.Digest]bool
	}
	set := func() state {
		c := newClock()
		b := &unsure{Bucket: newBucket(c)}
		s := blobstore.New(b, exact(c))
		st := state{c, b, s, map[digest.Digest]bool{}}
		_, tombstone := put(t, s, 1001, 1)
		collect(t, s, c, tombstone)
		_, again := put(t, s, 100_000, 2) // lives again
		collect(t, s, c, again)
		put(t, s, 100_000, 2)
		st.named[again] = true
		_, freed := put(t, s, 100_001, 3)
		collect(t, s, c, freed)
		c.Turn(orphanAge - grace - time.Hour) // the tombstone is old enough soon
		_, condemned := put(t, s, 100_002, 4)
		c.Turn(grace + time.Minute)
		becomes(t, s, c, condemned, blobstore.Condemned)
		u := start(t, s) // nobody finishes it
		data, _ := blob(partSize+100_000, 5)
		if _, err := u.Append(ctx, 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		put(t, s, 100_003, 6) // another one is faster with the same
		u = start(t, s)
		same, d := blob(100_003, 6)
		if _, err := u.Finish(ctx, 0, bytes.NewReader(same), d); err != nil {
			t.Fatal(err)
		}
		c.Turn(grace + 24*time.Hour)
		_, kept := put(t, s, 100_004, 7)
		st.named[kept] = true
		c.Turn(orphanAge)
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		return st
	}
	writes := 0
	for _, f := range []fault{none, lost, unheard, twice, stalled} {
		for n := 0; n == 0 || n < writes; n++ {
			st := set()
			s := blobstore.New(st.b, exact(st.c))
			st.b.set(func(at int, op, key string) fault {
				if f == none {
					writes = at + 1
				} else if at == n {
					return f
				}
				return none
			})
			cycle(t, s, st.c, st.b, st.named, true)
			st.b.set(nil)
			if f == none && writes < 10 {
				t.Fatalf("%d writes in a cycle: there is less garbage than there should be", writes)
			}
			st.c.Turn(time.Hour)
			st.b.release()
			for d := range st.named {
				if _, err := s.ReadAll(ctx, d, 1<<20); err != nil {
					t.Fatalf("write %d, %v: %v", n, f, err)
				}
			}
			if err := s.Close(ctx); err != nil {
				t.Fatal(err)
			}
			clean(t, st.c, st.b, st.named)
			if f == none {
				break
			}
		}
	}
	t.Logf("%d writes", writes)
}

// A halted clock is one by which whatever sleeps in the background never wakes up:
// it is done when the store is closed, and never when that has crashed.
type halted struct{ *clock }

func (h halted) Sleep(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// A walker pushes, gives up, crashes and collects at random, on several servers,
// while writes go wrong.
type walker struct {
	rt      *rapid.T
	c       *clock
	b       *unsure
	servers []*blobstore.Store
	blobs   map[digest.Digest][]byte
	until   map[digest.Digest]time.Time // what somebody was promised
	named   map[digest.Digest]bool      // and what something names, in time
	uploads []walkedUpload
	crashed []*blobstore.Store
}

func (w *walker) open() *blobstore.Store {
	o := exact(w.c)
	o.Clock, o.PartSize = halted{w.c}, walkPart
	return blobstore.New(w.b, o)
}

const walkPart = 256 << 10

type walkedUpload struct {
	id   string
	data []byte
}

func (w *walker) server() *blobstore.Store {
	return w.servers[rapid.IntRange(0, len(w.servers)-1).Draw(w.rt, "server")]
}

// pick returns one of a few blobs, so that they meet.
func (w *walker) pick() ([]byte, digest.Digest) {
	size := rapid.SampledFrom([]int{10, 70_000, walkPart - 1, walkPart + 70_000, 2*walkPart + 10}).Draw(w.rt, "size")
	b, d := blob(size, uint64(rapid.IntRange(0, 1).Draw(w.rt, "seed")))
	w.blobs[d] = b
	return b, d
}

func (w *walker) promised(d digest.Digest, b blobstore.Blob, err error) {
	if err == nil && b.Promised.After(w.until[d]) {
		w.until[d] = b.Promised
	}
}

func (w *walker) push(ctx context.Context) {
	data, d := w.pick()
	b, err := w.server().Put(ctx, repo, d, -1, bytes.NewReader(data))
	w.promised(d, b, err)
}

func (w *walker) begin(ctx context.Context) {
	data, _ := w.pick()
	if u, err := w.server().StartUpload(ctx, repo, blobstore.UploadOptions{}); err == nil {
		w.uploads = append(w.uploads, walkedUpload{u.ID(), data})
	}
}

// goOn does something with an upload: it sends more, and may break off, finishes it
// or gives it up.
func (w *walker) goOn(ctx context.Context) {
	if len(w.uploads) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.uploads)-1).Draw(w.rt, "upload")
	up := w.uploads[i]
	u, err := w.server().ResumeUpload(ctx, repo, up.id)
	if err != nil {
		return
	}
	off, err := u.Refresh(ctx)
	if err != nil || off > int64(len(up.data)) {
		return
	}
	rest := up.data[off:]
	switch rapid.SampledFrom([]string{"append", "append", "break", "finish", "finish", "abort", "wrong"}).Draw(w.rt, "how") {
	case "append":
		n := min(len(rest), rapid.SampledFrom([]int{5, 70_000, 150_000, walkPart, 300_000}).Draw(w.rt, "bytes"))
		_, _ = u.Append(ctx, off, bytes.NewReader(rest[:n]))
	case "break":
		_, _ = u.Append(ctx, off, io.MultiReader(bytes.NewReader(rest[:len(rest)/2]), iotest.ErrReader(errGone)))
	case "finish":
		d := digest.FromBytes(up.data)
		b, err := u.Finish(ctx, off, bytes.NewReader(rest), d)
		w.promised(d, b, err)
		if err == nil { // a client that goes on after this leaves work for full cycles
			w.uploads = slices.Delete(w.uploads, i, i+1)
		}
	case "abort":
		_ = u.Abort(ctx)
	case "wrong":
		_, _ = u.Finish(ctx, off, bytes.NewReader(rest), digest.FromString("wrong"))
	}
}

// name has something name what is promised, or takes that back.
func (w *walker) name(ctx context.Context) {
	_, d := w.pick()
	switch {
	case w.named[d]:
		delete(w.named, d)
	case w.until[d].After(w.c.Now()):
		w.named[d] = true
	}
}

// look fails the test unless what is promised or named can be read.
func (w *walker) look(ctx context.Context) {
	s := blobstore.New(w.b.Bucket, exact(w.c))
	defer s.Close(ctx)
	for d, want := range w.blobs {
		if !w.named[d] && !w.until[d].After(w.c.Now()) {
			continue
		}
		got, err := s.ReadUnpromised(ctx, d, 1<<30) // to look must not revive it
		if err != nil || !bytes.Equal(got, want) {
			w.rt.Fatalf("%s, promised until %v, named: %v, now %v: %v", d, w.until[d], w.named[d], w.c.Now(), err)
		}
	}
}

func TestAllGarbageGoesAndNothingElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		c := newClock()
		w := &walker{rt: rt, c: c, b: &unsure{Bucket: memory.New(memory.Options{Now: c.Now, MinPart: 64 << 10})}, servers: make([]*blobstore.Store, 2),
			blobs: map[digest.Digest][]byte{}, until: map[digest.Digest]time.Time{}, named: map[digest.Digest]bool{}}
		for i := range w.servers {
			w.servers[i] = w.open()
		}
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{none, none, none, none, none, lost, unheard, twice, stalled}), 1, 50).Draw(rt, "faults")
		calm := rapid.Bool().Draw(rt, "calm")
		w.b.set(func(n int, op, key string) fault {
			f := faults[n%len(faults)]
			if calm || f == twice && op == "create" { // of such two, nobody ever knows of the first
				return none
			}
			return f
		})
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			switch what := rapid.SampledFrom([]string{"push", "begin", "go on", "go on", "go on", "name", "crash", "hour", "day", "week", "collect", "collect", "full"}).Draw(rt, "what"); what {
			case "push":
				w.push(ctx)
			case "begin":
				w.begin(ctx)
			case "go on":
				w.goOn(ctx)
			case "name":
				w.name(ctx)
			case "crash":
				i := rapid.IntRange(0, len(w.servers)-1).Draw(rt, "server")
				w.crashed = append(w.crashed, w.servers[i])
				w.servers[i] = w.open()
			case "hour", "day", "week":
				w.b.release() // data that is stalled for longer is for a full cycle alone
				c.Turn(map[string]time.Duration{"hour": time.Hour, "day": 25 * time.Hour, "week": 7 * 24 * time.Hour}[what])
			default:
				cycle(rt, w.server(), c, w.b, w.named, what == "full")
			}
			w.look(ctx)
		}
		for _, s := range w.servers {
			_ = s.Close(ctx) // what it does not come to is the sweep's
		}
		w.b.set(nil)
		w.b.release()
		for d := range w.named {
			w.blobs[d] = nil
		}
		clean(rt, c, w.b, w.named)
		clear(w.named)
		clean(rt, c, w.b, w.named)
		left := keys(rt, w.b, "")
		if slices.ContainsFunc(left, func(k string) bool { return !strings.HasPrefix(k, "repos/") }) {
			rt.Fatalf("left: %q", left)
		}
		w.b.set(func(int, string, string) fault { return lost })
		for _, s := range w.crashed {
			_ = s.Close(ctx) // only its goroutine is still there
		}
	})
}

func (f fault) String() string {
	return [...]string{"none", "lost", "unheard", "twice", "stalled"}[f]
}

var _ fmt.Stringer = none
