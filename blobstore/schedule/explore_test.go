package schedule

import (
	"os"
	"testing"
)

// Every schedule of these scenarios within bounds keeps what the design says.
// With LAMINA_SOAK the bounds are wider.
func TestEverySchedule(t *testing.T) {
	few, patient := Config{Few: true}, Config{Few: true, Patient: true}
	for _, e := range []struct {
		name  string
		least int // schedules there must be
		Explorer
	}{
		{"a put against a delete and a collector", 200, Explorer{Scenario: putAgainstCollection, Config: few, Preemptions: 1, Every: 200}},
		{"a put that stalls", 6, Explorer{Scenario: putThatStalls, Config: few, Preemptions: 1, Every: 10}},
		{"a put that stalls, on a patient bucket", 40, Explorer{Scenario: putThatStalls, Config: patient, Preemptions: 1, Every: 10}},
		{"an upload that stalls", 15, Explorer{Scenario: uploadThatStalls, Config: few, Preemptions: 1, Every: 10}},
		{"an upload that stalls, on a patient bucket", 15, Explorer{Scenario: uploadThatStalls, Config: patient, Preemptions: 1, Every: 10}},
		{"a tag against a delete", 30, Explorer{Scenario: tagAgainstDelete, Config: few, Preemptions: 2, Faults: 1, Every: 50}},
		{"a delete against a put", 30, Explorer{Scenario: deleteAgainstPut, Config: few, Preemptions: 1, Faults: 1, Every: 50}},
		{"a push after a delete", 1, Explorer{Scenario: pushAgain, Config: few, Every: 1}},
		{"two collectors", 20, Explorer{Scenario: twoCollectors, Config: few, Preemptions: 1, Every: 50}},
		{"a read that stalls", 15, Explorer{Scenario: readThatStalls, Config: few, Preemptions: 1, Every: 10}},
		{"a question against a collector", 15, Explorer{Scenario: statAgainstCollection, Config: few, Preemptions: 2, Every: 50}},
		{"an upload against a tombstone's end", 6, Explorer{Scenario: uploadAgainstTombstone, Config: few, Preemptions: 1, Every: 10}},
		{"an upload with two faults", 30, Explorer{Scenario: uploadOfOne, Config: few, Faults: 2, FailReads: true, Every: 20}},
		{"an upload to another repository against a collector", 6, Explorer{Scenario: uploadByAnother, Config: few, Preemptions: 1, Every: 5}},
		{"two uploads against a collector", 25, Explorer{Scenario: twoUploads, Config: few, Preemptions: 1, Every: 100}},
	} {
		t.Run(e.name, func(t *testing.T) {
			if os.Getenv("LAMINA_SOAK") != "" {
				e.Preemptions, e.Most = e.Preemptions+1, 20_000
			}
			x := e.Run(t)
			if x.Broken != "" {
				t.Fatalf("%s\n%s", x.Broken, x.Tail(200))
			}
			if !x.All && e.Most == 0 || x.Schedules < e.least {
				t.Errorf("%d schedules, all: %v; there were %d at least", x.Schedules, x.All, e.least)
			}
			t.Logf("%d schedules, %d steps", x.Schedules, x.Steps)
		})
	}
}
