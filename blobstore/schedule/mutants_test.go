package schedule

import (
	"testing"

	"github.com/laminastore/lamina/blobstore/internal/mutant"
)

// Each mutant is caught, by the search or by the exploration that is quickest;
// and the same schedules find nothing wrong with the code as it is, which
// TestRandomSchedules and TestEverySchedule show.
func TestMutantsAreCaught(t *testing.T) {
	few, patient := Config{Few: true}, Config{Few: true, Patient: true}
	for _, m := range []struct {
		mutant mutant.Mutant
		most   int // steps at most until it is caught
		// Scenario is what catches it; without one the random search does.
		Explorer
	}{
		{mutant.PromiseNotRenewed, 20_000, Explorer{}},
		{mutant.CondemnedAnswered, 20_000, Explorer{}},
		{mutant.CacheForEver, 20_000, Explorer{}},
		{mutant.NoClockAfterLink, 20_000, Explorer{Scenario: putThatStalls, Config: patient, Preemptions: 1}},
		{mutant.NoLookAfterTag, 20_000, Explorer{Scenario: tagAgainstDelete, Config: few, Preemptions: 1}},
		{mutant.TagNoGeneration, 1_000, Explorer{Scenario: pushAgain, Config: few, Every: 1}},
		{mutant.LinkFromOldCache, 30_000, Explorer{}},
		{mutant.RemoveAnyLife, 20_000, Explorer{Scenario: deleteAgainstPut, Config: few, Preemptions: 1, Faults: 1}},
		{mutant.LinkOpensAllLives, 20_000, Explorer{Scenario: uploadByAnother, Config: few, Preemptions: 1, Every: 1}},
		{mutant.OneStep, 20_000, Explorer{}},
		{mutant.MarksEnd, 20_000, Explorer{Scenario: twoCollectors, Config: few, Preemptions: 2}},
		{mutant.NoSkewMargin, 20_000, Explorer{Scenario: twoCollectors, Config: few, Preemptions: 1}},
		{mutant.PromiseIgnored, 20_000, Explorer{}},
		{mutant.NoDrain, 20_000, Explorer{Scenario: readThatStalls, Config: few, Preemptions: 1}},
		{mutant.BlindSweep, 20_000, Explorer{Scenario: statAgainstCollection, Config: few, Preemptions: 2}},
		{mutant.BlindTombstone, 20_000, Explorer{Scenario: uploadAgainstTombstone, Config: few, Preemptions: 1}},
		{mutant.TombstonesGo, 20_000, Explorer{Scenario: uploadThatStalls, Config: patient, Preemptions: 1}},
		{mutant.BarsIgnored, 20_000, Explorer{Scenario: uploadThatStalls, Config: patient, Preemptions: 1}},
		{mutant.OrphanNotBarred, 20_000, Explorer{Scenario: uploadThatStalls, Config: patient, Preemptions: 1}},
		{mutant.OwnDataDeleted, 20_000, Explorer{Scenario: uploadOfOne, Config: few, Faults: 2, FailReads: true}},
	} {
		t.Run(string(m.mutant), func(t *testing.T) {
			defer mutant.Set(m.mutant)()
			made := 0
			if m.Scenario != nil {
				x := m.Run(t)
				if made = x.Steps; x.Broken != "" {
					t.Logf("caught after %d schedules, %d steps: %s", x.Schedules, made, x.Broken)
				}
				if x.Broken == "" || made > m.most {
					t.Errorf("not caught in %d steps, %d schedules (all: %v)", made, x.Schedules, x.All)
				}
				return
			}
			for seed := uint64(1); made < m.most; seed++ {
				o := Search{Seed: seed, Steps: 2500, Patient: seed%4 == 0}.Run(t)
				if made += o.Steps; o.Broken != "" {
					t.Logf("caught after %d steps, seed %d: %s", made, seed, o.Broken)
					return
				}
			}
			t.Errorf("not caught in %d steps", made)
		})
	}
}
