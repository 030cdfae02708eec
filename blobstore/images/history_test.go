package images

import (
	"fmt"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"
)

func TestHistory(t *testing.T) {
	layer := func(by string) ocispec.History { return ocispec.History{CreatedBy: by} }
	empty := func(by string) ocispec.History { return ocispec.History{CreatedBy: by, EmptyLayer: true} }
	for _, c := range []struct {
		name    string
		history []ocispec.History
		layers  int
		want    string // instruction and layer
	}{
		{"none of either", nil, 0, "[]"},
		// Rule of the domain: an instruction that changes no file makes
		// history, not a layer.
		{"as builders write it", []ocispec.History{layer("FROM"), empty("ENV"), layer("RUN"), empty("CMD")}, 2, "[FROM:0 ENV:-1 RUN:1 CMD:-1]"},
		{"only what makes no layer", []ocispec.History{empty("ENV"), empty("CMD")}, 0, "[ENV:-1 CMD:-1]"},
		{"no history", nil, 2, "[:0 :1]"},
		{"no history of the lower layers", []ocispec.History{empty("ENV"), layer("RUN")}, 3, "[:0 :1 ENV:-1 RUN:2]"},
		{"too much history", []ocispec.History{layer("FROM"), layer("RUN"), layer("ADD")}, 2, "[FROM:0 RUN:1 ADD:-1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := []string{}
			for _, e := range alignHistory(c.history, c.layers) {
				got = append(got, fmt.Sprintf("%s:%d", e.CreatedBy, e.Layer))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestHistoryNamesEachLayerOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var history []ocispec.History
		for i, empty := range rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(t, "empty") {
			history = append(history, ocispec.History{CreatedBy: fmt.Sprint(i), EmptyLayer: empty})
		}
		checkAligned(t, history, rapid.IntRange(0, 20).Draw(t, "layers"))
	})
}

// checkAligned says whether alignHistory gives every layer once, in order, and
// loses no instruction.
func checkAligned(t interface {
	Errorf(format string, args ...any)
}, history []ocispec.History, n int) {
	var layers []int
	var by, want []string
	entries := alignHistory(history, n)
	for i, e := range entries {
		if e.Layer >= 0 {
			layers = append(layers, e.Layer)
		}
		if i >= len(entries)-len(history) {
			by = append(by, e.CreatedBy)
		}
	}
	for _, h := range history {
		want = append(want, h.CreatedBy)
	}
	for i, l := range layers {
		if l != i {
			t.Errorf("layers %v", layers)
			break
		}
	}
	if len(layers) != n || !slices.Equal(by, want) {
		t.Errorf("%d layers of %d, instructions %q of %q", len(layers), n, by, want)
	}
}
