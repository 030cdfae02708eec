package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name   string
		events string
		want   string
		ok     bool
	}{
		{
			name: "a passing package is one line",
			events: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Test":"TestX","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}`,
			want: "ok  \ta\t0.1s\n1 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a skipped test is listed with its reason",
			events: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"a","Test":"TestX","Output":"    x_test.go:3: looked for it\n"}
{"Action":"output","Package":"a","Test":"TestX","Output":"    x_test.go:4: needs root:\n"}
{"Action":"output","Package":"a","Test":"TestX","Output":"        run as root\n"}
{"Action":"output","Package":"a","Test":"TestX","Output":"--- SKIP: TestX (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a"}`,
			want: "skipped:\n  a TestX: needs root: run as root\n0 passed, 0 failed, 1 skipped\n",
			ok:   true,
		},
		{
			name: "a failed subtest counts once, and shows what it printed",
			events: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"run","Package":"a","Test":"TestX/one"}
{"Action":"output","Package":"a","Test":"TestX/one","Output":"    x_test.go:3: got 1\n"}
{"Action":"run","Package":"a","Test":"TestX/two"}
{"Action":"output","Package":"a","Test":"TestX","Output":"--- FAIL: TestX (0.00s)\n"}
{"Action":"output","Package":"a","Test":"TestX/one","Output":"    --- FAIL: TestX/one (0.00s)\n"}
{"Action":"fail","Package":"a","Test":"TestX/one"}
{"Action":"pass","Package":"a","Test":"TestX/two"}
{"Action":"fail","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t1.5s\n"}
{"Action":"fail","Package":"a"}`,
			want: "    x_test.go:3: got 1\n    --- FAIL: TestX/one (0.00s)\n--- FAIL: TestX (0.00s)\nFAIL\ta\t1.5s\n" +
				"1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a package that does not build is a failure",
			events: `{"ImportPath":"a [a.test]","Action":"build-output","Output":"a.go:1: no\n"}
{"ImportPath":"a [a.test]","Action":"build-fail"}
{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Output":"FAIL\ta [build failed]\n"}
{"Action":"fail","Package":"a","FailedBuild":"a [a.test]"}`,
			want: "a.go:1: no\nFAIL\ta [build failed]\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a test that was running when its process died has failed",
			events: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Test":"TestX","Output":"panic: timed out\n"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t2s\n"}
{"Action":"fail","Package":"a"}`,
			want: "--- FAIL: TestX (did not end)\npanic: timed out\nFAIL\ta\t2s\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "words of the go command are passed on",
			events: `go: no such flag
`,
			want: "go: no such flag\n0 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got strings.Builder
			ok, err := report(strings.NewReader(c.events), &got)
			if err != nil || ok != c.ok {
				t.Errorf("ok %v, error %v; want ok %v", ok, err, c.ok)
			}
			if got.String() != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got.String(), c.want)
			}
		})
	}
}

func TestReportOfAnUnfinishedRunIsAnError(t *testing.T) {
	ok, err := report(strings.NewReader(`{"Action":"start","Package":"a"}`), io.Discard)
	if ok || err == nil || !strings.Contains(err.Error(), "tests of a") {
		t.Errorf("ok %v, error %v; want an error that names the package", ok, err)
	}
}

func TestReportLeavesOutTheMiddleOfALongLog(t *testing.T) {
	var events, got strings.Builder
	events.WriteString(`{"Action":"run","Package":"a","Test":"T"}` + "\n")
	for i := range head + tail + 50 {
		fmt.Fprintf(&events, `{"Action":"output","Package":"a","Test":"T","Output":"line %d.\n"}`+"\n", i)
	}
	events.WriteString(`{"Action":"fail","Package":"a","Test":"T"}`)
	if _, err := report(strings.NewReader(events.String()), &got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"line 0.\n", "line 99.\n… 50 lines left out …\nline 150.\n", "line 449.\n"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}
