package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Output      string
	FailedBuild string
}

// name is what a test is known by; with no test it is the package itself.
type name struct{ pkg, test string }

// head and tail of a test's output are kept; a log of millions of lines is not.
const head, tail = 100, 300

// output is what a test printed, less the middle when that is long.
type output struct {
	first, last []string
	dropped     int
}

func (o *output) add(line string) {
	switch {
	case len(o.first) < head:
		o.first = append(o.first, line)
	case len(o.last) < tail:
		o.last = append(o.last, line)
	default:
		o.last = append(o.last[1:], line)
		o.dropped++
	}
}

func (o *output) print(w io.Writer) {
	for _, line := range o.first {
		io.WriteString(w, line)
	}
	if o.dropped > 0 {
		fmt.Fprintf(w, "… %d lines left out …\n", o.dropped)
	}
	for _, line := range o.last {
		io.WriteString(w, line)
	}
}

// run is what is known of a run so far.
type run struct {
	out     *bufio.Writer
	printed map[name]*output
	results map[name]string // "" while it runs, else pass, fail or skip
	builds  map[string]*output
	open    map[string]bool // packages that have started and not ended
	skipped []string
	badPkgs int // packages that failed with no test to blame
}

// report prints what the events in r come to, and says whether all is well.
func report(r io.Reader, w io.Writer) (ok bool, err error) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	s := &run{
		out:     out,
		printed: map[name]*output{},
		results: map[name]string{},
		builds:  map[string]*output{},
		open:    map[string]bool{},
	}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				// The go command's own words, as on a flag that it does not know.
				out.Write(line)
			} else {
				s.event(e)
			}
			out.Flush()
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return s.close()
}

func (s *run) event(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "start":
		s.open[e.Package] = true
	case "run":
		s.results[n] = ""
	case "output":
		at(s.printed, n).add(e.Output)
	case "build-output":
		at(s.builds, e.ImportPath).add(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
			return
		}
		s.endTest(n, e.Action)
	}
}

func (s *run) endTest(n name, result string) {
	s.results[n] = result
	switch result {
	case "fail":
		at(s.printed, n).print(s.out)
	case "skip":
		s.skipped = append(s.skipped, fmt.Sprintf("%s %s: %s", n.pkg, n.test, reason(at(s.printed, n))))
	}
	delete(s.printed, n)
}

func (s *run) endPackage(e event) {
	delete(s.open, e.Package)
	if e.Action == "fail" {
		// A test that was running when its process died has no end of its own.
		var unfinished []name
		for n, result := range s.results {
			if n.pkg == e.Package && result == "" {
				unfinished = append(unfinished, n)
			}
		}
		slices.SortFunc(unfinished, func(a, b name) int { return cmp.Compare(a.test, b.test) })
		for _, n := range unfinished {
			fmt.Fprintf(s.out, "--- FAIL: %s (did not end)\n", n.test)
			s.endTest(n, "fail")
		}
		if b := s.builds[e.FailedBuild]; b != nil {
			b.print(s.out)
		}
		if !s.anyFailed(e.Package) {
			s.badPkgs++
		}
	}
	o := at(s.printed, name{e.Package, ""})
	delete(s.printed, name{e.Package, ""})
	switch {
	case e.Action == "fail":
		o.print(s.out) // ends with the go command's own line, "FAIL", package, time
	case e.Action == "pass":
		// The go command's own closing line, with time and "(cached)".
		for _, line := range slices.Concat(o.first, o.last) {
			if strings.HasPrefix(line, "ok ") {
				io.WriteString(s.out, line)
			}
		}
	}
}

func (s *run) anyFailed(pkg string) bool {
	for n, result := range s.results {
		if n.pkg == pkg && result == "fail" {
			return true
		}
	}
	return false
}

// close prints the end of the report. A test with subtests counts as these; it
// counts itself only where it failed and none of them did.
func (s *run) close() (ok bool, err error) {
	parents, failedParents := map[name]bool{}, map[name]bool{}
	for n, result := range s.results {
		for test := n.test; ; {
			i := strings.LastIndexByte(test, '/')
			if i < 0 {
				break
			}
			test = test[:i]
			parents[name{n.pkg, test}] = true
			if result == "fail" {
				failedParents[name{n.pkg, test}] = true
			}
		}
	}
	counts := map[string]int{"fail": s.badPkgs}
	for n, result := range s.results {
		if !parents[n] || result == "fail" && !failedParents[n] {
			counts[result]++
		}
	}
	if len(s.skipped) > 0 {
		slices.Sort(s.skipped)
		fmt.Fprintln(s.out, "skipped:")
		for _, line := range s.skipped {
			fmt.Fprintln(s.out, "  "+line)
		}
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	for pkg := range s.open {
		return false, fmt.Errorf("the input ends before the tests of %s do", pkg)
	}
	return counts["fail"] == 0, nil
}

// reason is what a test gave to Skip, without the file name and line.
func reason(o *output) string {
	var words []string
	for _, line := range slices.Concat(o.first, o.last) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if file, text, found := strings.Cut(line, ".go:"); found && !strings.Contains(file, " ") {
			if _, text, found = strings.Cut(text, ": "); found {
				line, words = text, nil // the last thing that it logged is the reason
			}
		}
		words = append(words, line)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}

func at[K comparable](m map[K]*output, k K) *output {
	o := m[k]
	if o == nil {
		o = &output{}
		m[k] = o
	}
	return o
}
