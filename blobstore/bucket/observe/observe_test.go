package observe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/observe"
)

// notes is an observer that writes down what it is told.
type notes struct {
	mu    sync.Mutex
	lines []string
	begun int
	ended int
}

type mark struct{}

func (n *notes) note(format string, a ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, a...))
}

func (n *notes) Begin(ctx context.Context, c observe.Call) (context.Context, func(time.Duration, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun++
	return context.WithValue(ctx, mark{}, c.Kind), func(took time.Duration, err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ended++
		if took < 0 || c.Began.IsZero() {
			panic("a call without a time")
		}
		n.lines = append(n.lines, fmt.Sprintf("%s %.20s %d %v", c.Kind, c.Key(), c.Size, class(err)))
	}
}

func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, bucket.ErrNotExist):
		return "no"
	}
	return err.Error()
}

func (n *notes) Read(read int64, err error) { n.note("read %d %v", read, class(err)) }

// take returns what was noted since it was last called.
func (n *notes) take(t *testing.T) []string {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.begun != n.ended {
		t.Errorf("%d calls began and %d ended", n.begun, n.ended)
	}
	l := n.lines
	n.lines = nil
	return l
}

func (n *notes) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := n.take(t); !slices.Equal(got, want) {
		t.Errorf("told of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestContract(t *testing.T) {
	buckettest.Test(t, func(*testing.T) bucket.Bucket { return observe.New(memory.New(memory.Options{}), &notes{}) })
}

func openFolder(t *testing.T) *file.Bucket {
	t.Helper()
	folder, err := file.Open(t.TempDir(), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

func TestSpoolContract(t *testing.T) {
	buckettest.Spool(t, func(t *testing.T) bucket.Bucket { return observe.New(openFolder(t), &notes{}) })
}

// Bytes in a spool cost nothing until they get a name.
func TestNamesGivenToSpoolsAreTold(t *testing.T) {
	n := &notes{}
	b := observe.New(openFolder(t), n)
	for _, step := range []func(s bucket.Spool) error{
		func(s bucket.Spool) error {
			_, err := s.Put(t.Context(), "a/b", bucket.Condition{})
			return err
		},
		func(s bucket.Spool) error {
			_, _, err := s.Parts(t.Context(), "m", 2, false)
			return err
		},
		func(s bucket.Spool) error {
			_, _, err := s.Parts(t.Context(), "m", 2, false)
			if err == nil {
				_, _, err = s.Parts(t.Context(), "m", 2, true)
			}
			return err
		},
	} {
		s, err := b.(bucket.Spooler).Spool(t.Context())
		if err == nil {
			_, err = s.Write([]byte("hello"))
		}
		if err == nil {
			err = step(s)
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Error(err)
		}
	}
	n.expect(t, "put a/b 5 ok", "part m 4 ok", "part m 4 ok", "part m 1 ok")
}

func TestEachCallIsToldOnce(t *testing.T) {
	n := &notes{}
	b := observe.New(memory.New(memory.Options{}), n)
	ctx := t.Context()
	if _, err := b.Put(ctx, "a/b", strings.NewReader("hello"), 5, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
	r, info, err := b.Get(ctx, "a/b", 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	n.expect(t, "put a/b 5 ok", "get a/b 0 ok")
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	_, serr := b.Stat(ctx, "a/c")
	id, err := b.CreateMultipart(ctx, "m")
	if err != nil || !errors.Is(serr, bucket.ErrNotExist) {
		t.Fatal(err, serr)
	}
	p, err := b.PutPart(ctx, "m", id, 1, strings.NewReader("xy"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CompleteMultipart(ctx, "m", id, []bucket.Part{p}, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := b.AbortMultipart(ctx, "m", "none"); err != nil {
		t.Fatal(err)
	}
	for range b.ListMultiparts(ctx, "m") {
		t.Error("an upload that was completed is listed")
	}
	if _, err := b.Clock(ctx); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "read 3 ok", "stat a/c 0 no", "create m 0 ok", "part m 2 ok", "complete m 0 ok", "abort m 0 ok", "uploads m 0 ok", "clock  0 ok")
	if err := b.(bucket.ConditionalDeleter).DeleteIf(ctx, "a/b", info.ETag); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, "a/b", "m"); err != nil {
		t.Fatal(err)
	}
	n.expect(t, "delete-if a/b 0 ok", "delete a/b m 0 ok")
}

func TestAListingIsACallForEachPage(t *testing.T) {
	n := &notes{}
	b := observe.New(memory.New(memory.Options{}), n)
	for i := range 2001 {
		if _, err := b.Put(t.Context(), "a/"+strconv.Itoa(i), strings.NewReader("x"), 1, bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	n.take(t)
	listing := func(most int) {
		for _, err := range b.List(t.Context(), "a/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if most--; most == 0 {
				return
			}
		}
	}
	for most, pages := range map[int]int{0: 3, 1: 1, 1000: 1, 1001: 2, 2000: 2, 2001: 3} {
		listing(most)
		n.expect(t, slices.Repeat([]string{"list a/ 0 ok"}, pages)...)
	}
	for range b.List(t.Context(), "b/", "") {
		t.Error("listed")
	}
	n.expect(t, "list b/ 0 ok")
}

// broken fails what it can.
type broken struct{ bucket.Bucket }

var errBroken = errors.New("broken")

func (broken) List(ctx context.Context, _, _ string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		yield(bucket.Info{}, fmt.Errorf("%w by %v", errBroken, ctx.Value(mark{})))
	}
}

func (broken) Get(context.Context, string, int64, int64) (io.ReadCloser, bucket.Info, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("12"), failing{})), bucket.Info{}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func TestFailuresAreToldAndTheContextIsTheObservers(t *testing.T) {
	n := &notes{}
	b := observe.New(broken{memory.New(memory.Options{})}, n)
	for _, err := range b.List(t.Context(), "a", "") {
		if err == nil || err.Error() != "broken by list" {
			t.Error(err)
		}
	}
	r, _, err := b.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	r.Close()
	n.expect(t, "list a 0 broken by list", "get a 0 ok", "read 2 broken")
}

// What a bucket can do beyond the contract is found by type assertion: through
// the decorator it is there when it is there inside, and not otherwise.
func TestOptionalContractsAreThoseOfTheBucketInside(t *testing.T) {
	folder := openFolder(t)
	type deletes struct {
		bucket.Bucket
		bucket.ConditionalDeleter
	}
	type presigns struct {
		bucket.Bucket
		bucket.Presigner
	}
	type both struct {
		deletes
		bucket.Presigner
	}
	type spools struct {
		bucket.Bucket
		bucket.Spooler
	}
	type spoolsAndPresigns struct {
		spools
		bucket.Presigner
	}
	type all struct {
		both
		bucket.Spooler
	}
	m := memory.New(memory.Options{})
	for name, b := range map[string]bucket.Bucket{
		"memory": m, "file": folder, "neither": broken{m},
		"deletes": deletes{Bucket: m}, "presigns": presigns{Bucket: m}, "both": both{deletes{Bucket: m}, nil},
		"spools": spools{Bucket: m}, "spools and presigns": spoolsAndPresigns{spools{Bucket: m}, nil}, "all": all{both: both{deletes{Bucket: m}, nil}},
	} {
		_, deletes := b.(bucket.ConditionalDeleter)
		_, presigns := b.(bucket.Presigner)
		o := observe.New(b, &notes{})
		if _, ok := o.(bucket.ConditionalDeleter); ok != deletes {
			t.Errorf("%s: deletes conditionally: %v, and observed %v", name, deletes, ok)
		}
		_, spools := b.(bucket.Spooler)
		if _, ok := o.(bucket.Spooler); ok != spools {
			t.Errorf("%s: spools: %v, and observed %v", name, spools, ok)
		}
		if _, ok := o.(bucket.Presigner); ok != presigns {
			t.Errorf("%s: presigns: %v, and observed %v", name, presigns, ok)
		}
	}
}
