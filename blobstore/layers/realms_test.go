package layers_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

// Repositories of two realms, a second one of the first, and one of none.
const (
	inA    = reference.Repository("team/a/app")
	alsoA  = reference.Repository("tools/a")
	inB    = reference.Repository("team/b/app")
	inNone = reference.Repository("public/app")
)

func twoRealms(t *testing.T) realm.Map {
	t.Helper()
	m, err := realm.Parse("a=team/a,tools/a", "b=team/b")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A layered is a tar and a blob of it.
type layered struct {
	tar, blob     []byte
	layer, diffID digest.Digest
}

func newLayer(size int, name string) layered {
	l := layered{tar: storetest.Tar(size, name)}
	l.blob = storetest.Gzip(l.tar)
	l.layer, l.diffID = digest.FromBytes(l.blob), digest.FromBytes(l.tar)
	return l
}

// push stores the layer in repo and names it, as the push of an image does.
func (l layered) push(t *testing.T, s *blobstore.Store, c *layers.Checker, repo reference.Repository) {
	t.Helper()
	if _, err := s.Put(t.Context(), repo, l.layer, int64(len(l.blob)), strings.NewReader(string(l.blob))); err != nil {
		t.Error(err)
		return
	}
	c.Want(repo, l.layer, gzipped, l.diffID)
}

func (l layered) wait(t *testing.T, c *layers.Checker, repo reference.Repository) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if s, problem, err := c.Wait(ctx, repo, l.layer, l.diffID); s != layers.Plain || err != nil {
		t.Errorf("%s: %v %s %v", repo, s, problem, err)
	}
}

// recordIn reads the layer's record of a realm, and sees to it that it is whole
// when it is there.
func (l layered) recordIn(t *testing.T, b bucket.Bucket, in realm.Name) bool {
	t.Helper()
	_, there := l.mediaType(t, b, in)
	return there
}

// mediaType is recordIn that returns the blob's media type on record, too.
func (l layered) mediaType(t *testing.T, b bucket.Bucket, in realm.Name) (mediaType string, there bool) {
	t.Helper()
	src, _, err := b.Get(t.Context(), layers.Key(in, l.diffID), 0, -1)
	if errors.Is(err, bucket.ErrNotExist) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var r layerRecord
	if err := json.NewDecoder(src).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.DiffID != l.diffID || r.Form != "plain" || r.Size != int64(len(l.tar)) || len(r.Blobs) != 1 || r.Blobs[l.layer].Size != int64(len(l.blob)) {
		t.Errorf("recorded in %q: %+v, the tar has %d bytes and the blob %d", in, r, len(l.tar), len(l.blob))
	}
	return r.Blobs[l.layer].MediaType, true
}

// records returns the realms that have a record of the layer.
func (l layered) records(t *testing.T, b bucket.Bucket) string {
	t.Helper()
	var in []string
	for _, n := range []realm.Name{"a", "b", realm.Default} {
		if l.recordIn(t, b, n) {
			in = append(in, string(n))
		}
	}
	return strings.Join(in, " ")
}

// copies counts the data objects that the blob's record names: what else an
// upload has left of a blob that was there already is nobody's.
func (l layered) copies(t *testing.T, b bucket.Bucket) int {
	t.Helper()
	src, _, err := b.Get(t.Context(), blobstore.BlobKey(l.layer), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var r struct{ Copies []string }
	if err := json.NewDecoder(src).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return len(r.Copies)
}

// The same layer in two realms, pushed in either order or at once, by way of
// one server or of two, kept in memory for its check or read back.
func TestEachRealmHasItsOwnRecordOfALayer(t *testing.T) {
	o := layers.Options{Realms: twoRealms(t)}
	readBack := o
	readBack.KeepBytes = 1
	for name, order := range map[string][]reference.Repository{
		"a first": {inA, inB, inNone}, "b first": {inB, inA, inNone}, "none first": {inNone, inB, inA}, "at once": nil,
	} {
		for _, many := range []bool{false, true} {
			for _, o := range []layers.Options{o, readBack} {
				t.Run(name, func(t *testing.T) {
					b := storetest.NewBucket(storetest.NewClock())
					s, c := server(t, b, o)
					next := func() (*blobstore.Store, *layers.Checker) {
						if many {
							return server(t, b, o)
						}
						return s, c
					}
					l := newLayer(200<<10, "a")
					if order == nil {
						var all sync.WaitGroup
						for _, repo := range []reference.Repository{inA, inB, inNone, inB, inA} {
							s, c := next()
							all.Go(func() {
								l.push(t, s, c, repo)
								l.wait(t, c, repo)
							})
						}
						all.Wait()
					}
					for i, repo := range order {
						s, c := next()
						l.push(t, s, c, repo)
						l.wait(t, c, repo)
						if got := strings.Fields(l.records(t, b)); len(got) != i+1 {
							t.Errorf("after %v there are records in %v", order[:i+1], got)
						}
					}
					if got := l.records(t, b); got != "a b default" {
						t.Errorf("records in %s", got)
					}
					if n := l.copies(t, b); n != 1 {
						t.Errorf("the blob is stored %d times", n)
					}
				})
			}
		}
	}
}

// What one realm knows is no answer in another: the blob is looked into.
func TestRecordOfAnotherRealmDoesNotCount(t *testing.T) {
	o := layers.Options{Realms: twoRealms(t)}
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, c := server(t, tricky, o)
	l := newLayer(200<<10, "a")
	l.push(t, s, c, inA)
	l.wait(t, c, inA)

	// A server that has never seen the bytes.
	_, other := server(t, tricky, o)
	var reads, strange atomic.Int32
	tricky.Set(func(op, key string, pass func() error) error {
		if strings.HasPrefix(key, "data/") {
			reads.Add(1)
		}
		if strings.HasPrefix(key, "layers/") && !strings.HasPrefix(key, "layers/b/") {
			strange.Add(1)
		}
		return pass()
	})
	if state, _, err := other.State(t.Context(), inB, l.layer, l.diffID); state != layers.Pending || err != nil {
		t.Errorf("before it is checked for the realm: %v, %v", state, err)
	}
	l.wait(t, other, inB)
	if reads.Load() == 0 || strange.Load() != 0 {
		t.Errorf("the blob was read %d times, records of other realms used %d times", reads.Load(), strange.Load())
	}
	// In its own realm it counts, for every repository.
	reads.Store(0)
	l.wait(t, other, inA)
	l.wait(t, other, alsoA)
	if reads.Load() != 0 {
		t.Errorf("what the realm has on record was read again")
	}
	if got := l.records(t, tricky); got != "a b" {
		t.Errorf("records in %s", got)
	}
}

// Claims of two realms that meet in one check: one is on record, and must not
// answer for the other.
func TestClaimsOfTwoRealmsInOneCheck(t *testing.T) {
	o := layers.Options{Realms: twoRealms(t), Workers: 1}
	tricky := &storetest.Bucket{Bucket: storetest.NewBucket(storetest.NewClock())}
	s, c := server(t, tricky, o)
	l, blocker := newLayer(200<<10, "a"), newLayer(200<<10, "b")
	l.push(t, s, c, inA)
	blocker.push(t, s, c, inNone)
	l.wait(t, c, inA)
	blocker.wait(t, c, inNone)

	_, other := server(t, tricky, o)
	stopped, goOn := make(chan struct{}), make(chan struct{})
	written := map[string]chan struct{}{
		layers.Key("b", l.diffID): make(chan struct{}), layers.Key(realm.Default, l.diffID): make(chan struct{}),
	}
	tricky.Set(func(op, key string, pass func() error) error {
		switch done := written[key]; {
		case op == "get" && key == layers.Key("b", blocker.diffID):
			close(stopped)
			<-goOn
		case op == "put" && done != nil:
			defer close(done)
		}
		return pass()
	})
	other.Want(inB, blocker.layer, gzipped, blocker.diffID) // keeps the worker busy
	await(t, stopped)
	for _, repo := range []reference.Repository{inA, inB, alsoA, inNone} {
		other.Want(repo, l.layer, "type/"+string(repo), l.diffID)
	}
	close(goOn)
	for _, done := range written {
		await(t, done)
	}
	l.wait(t, other, inA)
	if got := l.records(t, tricky); got != "a b default" {
		t.Errorf("records in %s", got)
	}
	// What a manifest in one realm says of the blob is not told to another.
	for in, want := range map[realm.Name]string{"a": gzipped, "b": "type/team/b/app", realm.Default: "type/public/app"} {
		if got, _ := l.mediaType(t, tricky, in); got != want {
			t.Errorf("on record in %q is the media type %q, want %q", in, got, want)
		}
	}
}

// A false claim in one realm leaves a verdict with the blob, which says what its
// tar is; that is no record of the realm in which it is claimed rightly.
func TestVerdictIsNoRecordOfARealm(t *testing.T) {
	o := layers.Options{Realms: twoRealms(t)}
	b := storetest.NewBucket(storetest.NewClock())
	s, c := server(t, b, o)
	l, another := newLayer(1000, "a"), newLayer(1000, "b")
	l.push(t, s, c, inA)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if state, _, err := c.Wait(ctx, inA, l.layer, another.diffID); state != layers.Invalid || err != nil {
		t.Fatalf("%v, %v", state, err)
	}
	for range 2 {
		_, other := server(t, b, o)
		if state, problem, err := other.Wait(ctx, inB, l.layer, another.diffID); state != layers.Invalid || strings.Contains(problem, "team/") || err != nil {
			t.Errorf("the false claim in the other realm: %v %q, %v", state, problem, err)
		}
		l.wait(t, other, inB)
		if !l.recordIn(t, b, "b") {
			t.Error("the realm has no record of the layer")
		}
		if another.records(t, b) != "" {
			t.Error("what was claimed falsely is on record")
		}
	}
}

// A layer that was checked when the realms were others is checked for its new
// realm when somebody asks.
func TestLayersAfterTheRealmsHaveChanged(t *testing.T) {
	b := storetest.NewBucket(storetest.NewClock())
	s, before := server(t, b, layers.Options{})
	l := newLayer(200<<10, "a")
	l.push(t, s, before, inA)
	l.wait(t, before, inA)
	if err := before.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, after := server(t, b, layers.Options{Realms: twoRealms(t)})
	if state, _, err := after.State(t.Context(), inA, l.layer, l.diffID); state != layers.Pending || err != nil {
		t.Errorf("at first: %v, %v", state, err)
	}
	l.wait(t, after, inA)
	if got := l.records(t, b); got != "a default" {
		t.Errorf("records in %s", got)
	}
	r, err := s.Open(t.Context(), inA, l.layer, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != string(l.blob) || err != nil {
		t.Errorf("the blob: %d bytes, %v", len(got), err)
	}
}
