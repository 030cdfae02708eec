package readahead

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var errList = errors.New("the listing fails")

// keys lists n keys, and then fails if failing is set.
func keys(n int, failing bool) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for i := range n {
			if !yield(bucket.Info{Key: fmt.Sprintf("%04d", i)}, nil) {
				return
			}
		}
		if failing {
			yield(bucket.Info{}, errList)
		}
	}
}

func same(_ context.Context, info bucket.Info) (string, error) { return info.Key, nil }

func TestOrderIsThatOfTheListing(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 500} {
		var got []string
		for k, err := range Map(t.Context(), keys(n, false), same) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, k)
		}
		if len(got) != n || !slices.IsSorted(got) {
			t.Errorf("%d keys: got %d, sorted: %v", n, len(got), slices.IsSorted(got))
		}
	}
}

func TestWhatComesBeforeAnErrorIsGiven(t *testing.T) {
	n, last := 0, error(nil)
	for _, err := range Map(t.Context(), keys(70, true), same) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 70 || !errors.Is(last, errList) {
		t.Errorf("got %d entries and %v", n, last)
	}
}

func TestStopsWithTheCaller(t *testing.T) {
	n := 0
	for range Map(t.Context(), keys(500, true), same) {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("got %d", n)
	}
}

func TestErrorOfTheFunctionEndsIt(t *testing.T) {
	bad := errors.New("bad")
	var last error
	for _, err := range Map(t.Context(), keys(500, false), func(_ context.Context, info bucket.Info) (string, error) {
		if info.Key == "0070" {
			return "", bad
		}
		return info.Key, nil
	}) {
		last = err
	}
	if !errors.Is(last, bad) {
		t.Errorf("got %v", last)
	}
}
