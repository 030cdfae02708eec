package runs_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/laminastore/lamina/blobstore/collect/runs"
)

func sorted(t testing.TB, s *runs.Sorter) []string {
	t.Helper()
	var out []string
	for b, err := range s.Sorted() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

func strings(n, kinds int) []string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%d", r.IntN(kinds))
	}
	return out
}

// Whether all fits into memory, some runs are written, or so many that they are
// merged in several steps: what comes out is the same.
func TestStringsComeOutSortedAndOnce(t *testing.T) {
	for _, c := range []struct{ n, memory, least, most int }{
		{0, 1 << 20, 0, 0},
		{1000, 1 << 20, 0, 0},
		{1000, 4 << 10, 2, 10},
		{50_000, 1 << 10, 130, 1000},
	} {
		t.Run(fmt.Sprint(c.n, " in ", c.memory), func(t *testing.T) {
			t.Parallel()
			s := runs.New(t.TempDir(), c.memory)
			defer s.Close()
			in := strings(c.n, 7000)
			for _, b := range in {
				if err := s.Add([]byte(b)); err != nil {
					t.Fatal(err)
				}
			}
			slices.Sort(in)
			in = slices.Compact(in)
			for range 2 { // may be asked twice
				if out := sorted(t, s); !slices.Equal(out, in) {
					t.Errorf("%d strings come out, not %d, or not in order", len(out), len(in))
				}
			}
			if n := s.Spilled(); n < c.least || n > c.most {
				t.Errorf("%d runs were written, not %d to %d", n, c.least, c.most)
			}
		})
	}
}

func TestManyAddAndReadAtOnce(t *testing.T) {
	s := runs.New(t.TempDir(), 2<<10)
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				if err := s.Add(fmt.Appendf(nil, "%d-%04d", i, j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 4 {
		wg.Go(func() {
			if n := len(sorted(t, s)); n != 4000 {
				t.Errorf("%d strings, not 4000", n)
			}
		})
	}
	wg.Wait()
}

// The file has no name, so that nothing is left when the process is killed.
func TestNothingIsLeftInTheFolder(t *testing.T) {
	dir := t.TempDir()
	s := runs.New(dir, 0)
	for i := range 10_000 {
		if err := s.Add(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Spilled() == 0 {
		t.Fatal("nothing was written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v in the folder, %v", left, err)
	}
	for range s.Sorted() {
		break // early
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := s.Add([]byte("late")); err == nil {
		t.Error("added to a closed sorter")
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	s := runs.New(filepath.Join(t.TempDir(), "no"), 0)
	defer s.Close()
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = s.Add(fmt.Append(nil, i))
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestStringsHaveALimit(t *testing.T) {
	s := runs.New(t.TempDir(), 0)
	defer s.Close()
	long := bytes.Repeat([]byte("a"), runs.MaxLength)
	for _, b := range [][]byte{nil, long, []byte("b")} {
		if err := s.Add(b); err != nil {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if err := s.Add(append(long, 'a')); err == nil {
		t.Error("a string that is too long was taken")
	}
	if out := sorted(t, s); !slices.Equal(out, []string{"", string(long), "b"}) {
		t.Errorf("%d strings", len(out))
	}
}

func TestACursorSkipsToWhatBeginsAlike(t *testing.T) {
	s := runs.New(t.TempDir(), 0)
	defer s.Close()
	for _, b := range []string{"a1", "a2", "c1"} {
		if err := s.Add([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	c := s.Walk()
	defer c.Close()
	if !c.Skip([]byte("a")) || !c.Skip([]byte("a2")) || c.Skip([]byte("b")) {
		t.Error("skipped to the wrong place")
	}
	if b, ok := c.At(); string(b) != "c1" || !ok {
		t.Errorf("at %q", b)
	}
	if c.Skip([]byte("d")) {
		t.Error("there is nothing behind the last")
	}
	if _, ok := c.At(); ok || c.Err() != nil {
		t.Error("not at the end")
	}
}
