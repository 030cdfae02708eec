package registry_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/internal/needs"
)

const conformance = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// The suite of the specification itself, as released and as it is developed,
// with nothing turned off. Skipped may be only what the specification lets a
// registry decline: to mount without a source, which would open to everyone
// what somebody else has pushed.
func TestConformance(t *testing.T) {
	suite := buildConformance(t)
	for _, version := range []string{"1.1", "dev"} {
		for name, open := range map[string]func(*testing.T) bucket.Bucket{
			"memory": func(*testing.T) bucket.Bucket { return memory.New(memory.Options{}) },
			"file": func(t *testing.T) bucket.Bucket {
				b, err := file.Open(filepath.Join(t.TempDir(), "bucket"), file.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return b
			},
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				s := serve(t, open(t))
				conform(t, suite, strings.TrimPrefix(s.URL, "http://"), version)
			})
		}
	}
}

// buildConformance builds the suite with the go command that runs this test.
func buildConformance(t *testing.T) string {
	dir := t.TempDir()
	cmd := exec.Command("go", "install", "-trimpath", conformance)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-buildvcs=false", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	needs.That(t, err == nil, "needs "+conformance+" from the module proxy: "+string(out))
	return filepath.Join(dir, "conformance")
}

func conform(t *testing.T, suite, registry, version string) {
	t.Helper()
	results := t.TempDir()
	cmd := exec.CommandContext(t.Context(), suite)
	cmd.Dir = results
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+registry, "OCI_TLS=disabled", "OCI_VERSION="+version,
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2", "OCI_RESULTS_DIR="+results)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the suite: %v", err)
	}
	raw, rerr := os.ReadFile(filepath.Join(results, "junit.xml"))
	if rerr != nil {
		t.Fatalf("%v\n%s", rerr, out)
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Errors   int `xml:"errors,attr"`
		Failures int `xml:"failures,attr"`
		Disabled int `xml:"disabled,attr"`
		Cases    []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
			Why    string `xml:"system-out"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(raw, &suites); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests, %d failed, %d errors, %d disabled", suites.Tests, suites.Failures, suites.Errors, suites.Disabled)
	if suites.Tests < 800 || suites.Failures > 0 || suites.Errors > 0 || version == "dev" && suites.Disabled > 0 {
		t.Errorf("%s", out)
	}
	for _, c := range suites.Cases {
		switch {
		case strings.EqualFold(c.Status, "passed"):
		case strings.Contains(c.Name, "mount anonymous"):
		case version == "1.1" && strings.Contains(c.Name, "post cancel"): // off by default in 1.1
		default:
			t.Errorf("%s: %s: %s", c.Name, c.Status, c.Why)
		}
	}
}
