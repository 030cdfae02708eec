package fleet_test

import (
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
)

// A node's id is its first reporter's, until that has been silent for 30 days.
func TestAnIDBelongsToItsFirstReporter(t *testing.T) {
	alice, bob := fleet.Reporter{Subject: "user:alice"}, fleet.Reporter{Subject: "user:bob"}
	proven := fleet.Reporter{Subject: "node:n", Proven: true}
	const day = 24 * time.Hour
	type step struct {
		after time.Duration
		by    fleet.Reporter
		taken bool
	}
	for name, steps := range map[string][]step{
		"the first keeps it":             {{0, alice, false}, {29 * day, bob, true}, {0, alice, false}, {29 * day, bob, true}},
		"the silent loses it":            {{0, alice, false}, {30 * day, bob, false}, {0, alice, true}},
		"a certificate goes before":      {{0, alice, false}, {0, proven, false}, {0, alice, true}, {0, proven, false}},
		"nobody is asked":                {{0, alice, false}, {0, fleet.Reporter{}, false}, {0, bob, true}},
		"it was free when nobody was":    {{0, fleet.Reporter{}, false}, {0, bob, false}, {0, alice, true}},
		"also at once, with the same":    {{0, alice, false}, {time.Second, alice, false}, {time.Second, bob, true}},
		"the one who took it has it now": {{0, alice, false}, {31 * day, bob, false}, {29 * day, alice, true}, {0, bob, false}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i, s := range steps {
				w.clock.Turn(s.after)
				err := w.fleet.Report(t.Context(), fleet.Node{ID: "n", Containers: []fleet.Container{container("c")}, Reporter: s.by})
				if errors.Is(err, blobstore.ErrNodeTaken) != s.taken || err != nil && !s.taken {
					t.Fatalf("step %d, %v: %v", i, s.by, err)
				}
			}
		})
	}
}
