package main

import (
	"fmt"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket/count"
)

// A row is one cycle of a table.
type row struct {
	name string
	childResult
}

func printCycles(store string, s shape, m making, rows []row) {
	fmt.Printf("\nCollection on %s: %s blobs (%s manifests of %d or more layers in %s repositories), %s of them garbage; %s objects in the bucket, made in %v.\n\n",
		store, thousands(int64(s.blobs)), thousands(int64(s.manifests)), s.layers, thousands(int64(s.repos())), thousands(int64(s.garbageBlobs())),
		thousands(m.objects), m.took.Round(time.Second))
	fmt.Println("| | time | peak memory | calls | list | get | put | delete | listed | condemned | collected | freed |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range rows {
		c := r.Calls
		fmt.Printf("| %s | %.1f s | %d MB | %s | %s | %s | %s | %s | %s | %s | %s | %s objects, %d kB |\n",
			r.name, r.Took.Seconds(), r.Peak>>20, thousands(c.Total()), thousands(c.List), thousands(c.Get), thousands(c.Put), thousands(c.Delete),
			thousands(r.Report.Listed), thousands(r.Report.Condemned), thousands(r.Report.Collected), thousands(r.Report.FreedObjects), r.Report.FreedBytes>>10)
		if r.Report.ProblemsTotal > 0 {
			fmt.Printf("| | %d problems, the first: %v |\n", r.Report.ProblemsTotal, r.Report.Problems[0])
		}
	}
}

func printPulls(rows []pullRow) {
	fmt.Printf("\nCalls to the bucket for one pull of an image of 5 layers of 100 kB, by its tag. A promise that must be renewed has less than three quarters of the grace left.\n\n")
	fmt.Println("| | get | put | calls |")
	fmt.Println("|---|---:|---:|---:|")
	for _, r := range rows {
		fmt.Printf("| %s | %d | %d | %d |\n", r.name, r.calls.Get, r.calls.Put, r.calls.Total())
	}
}

// A pullRow is a pull and the calls that it took.
type pullRow struct {
	name  string
	calls count.Calls
}

// thousands writes a number as in 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
