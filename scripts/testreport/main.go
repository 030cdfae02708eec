// Testreport reads what `go test -json` prints and shows what a person wants of
// it: a line for each package as it ends, the output of what failed, the list
// of what was skipped and why, and a last line with the counts.
//
//	go test -json ./... | testreport
//
// It exits with 1 when anything failed or the input is not a whole run.
package main

import (
	"fmt"
	"os"
)

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}
