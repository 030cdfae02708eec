package overlay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
)

// Metadata of every shape that bbolt gives it is fine: pages that branch, pages
// that overflow, free ones between.
func TestSoundMetadataIsNotTakenForDamaged(t *testing.T) {
	s, root := openNew(t)
	labels := snapshots.WithLabels(map[string]string{"long": strings.Repeat("l", 10_000)})
	key := func(i int) string { return strings.Repeat("k", i*i%3000) + fmt.Sprint(i) }
	for i := range 150 {
		prepare(t, s, key(i), "", labels)
	}
	prepare(t, s, strings.Repeat("longest", maxKey/7), "")
	for i := range 150 {
		if i%3 == 0 {
			if err := s.Remove(t.Context(), key(i)); err != nil {
				t.Fatal(err)
			}
		}
		if i%50 == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, root)
		}
	}
	if got := names(t, s); len(got) != 101 {
		t.Errorf("%d snapshots, want 101", len(got))
	}
}
