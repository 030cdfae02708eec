package server_test

import (
	"encoding/xml"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

const conformance = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// toggles are all that the suite can switch on or off. Some are off by default,
// others only for the released version of the specification.
var toggles = []string{
	"API_PING", "API_PULL", "API_PUSH", "API_REFERRER",
	"API_BLOBS_ATOMIC", "API_BLOBS_DELETE", "API_BLOBS_DIGEST_HEADER", "API_BLOBS_MOUNT_ANONYMOUS", "API_BLOBS_UPLOAD_CANCEL",
	"API_MANIFESTS_ATOMIC", "API_MANIFESTS_DELETE", "API_MANIFESTS_DIGEST_HEADER", "API_MANIFESTS_TAG_PARAM",
	"API_TAGS_ATOMIC", "API_TAGS_DELETE", "API_TAGS_LIST",
	"DATA_IMAGE", "DATA_INDEX", "DATA_INDEX_LIST", "DATA_SPARSE", "DATA_ARTIFACT", "DATA_SUBJECT", "DATA_SUBJECT_MISSING",
	"DATA_ARTIFACT_LIST", "DATA_SUBJECT_LIST", "DATA_DATA_FIELD", "DATA_NONDISTRIBUTABLE", "DATA_CUSTOM_FIELDS",
	"DATA_NO_LAYERS", "DATA_EMPTY_BLOB", "DATA_SHA512",
}

// The suite of the specification itself, as released and as it is developed,
// with everything turned on: nothing fails, nothing is skipped. Each kind of
// bucket is served by one server, and by two between which requests alternate,
// those of one upload too.
func TestConformance(t *testing.T) {
	suite := buildConformance(t)
	for _, kind := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"memory", nil},
		{"file", func(t *testing.T) string { return "file://" + filepath.Join(t.TempDir(), "bucket") }},
		{"minio", func(t *testing.T) string { return servers.MinIO(t) }},
		{"versitygw", func(t *testing.T) string { return servers.VersityGW(t) }},
	} {
		for _, many := range []int{1, 2} {
			for _, version := range []string{"1.1", "dev"} {
				t.Run(kind.name+map[int]string{1: " one server ", 2: " two servers "}[many]+version, func(t *testing.T) {
					t.Parallel() // they wait for disks more than they compute
					url := ""
					if kind.url != nil {
						url = kind.url(t)
					}
					conform(t, suite, serveAll(t, url, many), version)
				})
			}
		}
	}
}

// serveAll starts servers over one bucket (none: in memory), each of which opens
// it for itself as a process of its own would, and returns the address at which
// each takes its turn.
func serveAll(t *testing.T, url string, many int) string {
	var shared bucket.Bucket
	if url == "" {
		shared = memory.New(memory.Options{})
	}
	var addresses []string
	for range many {
		s := servertest.Start(t, servertest.Options{Bucket: shared, Config: server.Config{
			Store:  blobstore.Options{LinkLease: time.Millisecond}, // each deletion lasts that long
			Bucket: url, GRPC: server.Off, Metrics: server.Off, AllowSparse: true, Logger: slog.New(slog.DiscardHandler),
		}})
		addresses = append(addresses, s.HTTP)
	}
	if many == 1 {
		return addresses[0]
	}
	return alternate(t, addresses)
}

// alternate is a proxy that gives each request to the next server.
func alternate(t *testing.T, addresses []string) string {
	var n atomic.Int64
	p := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addresses[int(n.Add(1))%len(addresses)]})
		},
		// One that does not go on with a connection at the server's whim.
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	t.Cleanup(p.Close)
	return strings.TrimPrefix(p.URL, "http://")
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

// conform runs the suite against a registry, and reads what it found.
func conform(t *testing.T, suite, registry, version string) {
	t.Helper()
	results := t.TempDir()
	cmd := exec.CommandContext(t.Context(), suite)
	cmd.Dir = results
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+registry, "OCI_TLS=disabled", "OCI_VERSION="+version,
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2", "OCI_RESULTS_DIR="+results)
	for _, toggle := range toggles {
		cmd.Env = append(cmd.Env, "OCI_"+toggle+"=true")
	}
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
		Skipped  int `xml:"skipped,attr"`
		Disabled int `xml:"disabled,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Class   string `xml:"classname,attr"`
			Status  string `xml:"status,attr"`
			Skipped string `xml:"skipped"`
			Failure string `xml:"failure"`
			Error   string `xml:"error"`
			Output  string `xml:"system-out"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(raw, &suites); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests: %d failed, %d errors, %d skipped, %d disabled",
		suites.Tests, suites.Failures, suites.Errors, suites.Skipped, suites.Disabled)
	if suites.Tests < 800 || suites.Failures+suites.Errors+suites.Skipped+suites.Disabled > 0 {
		t.Errorf("not all have passed, or there are fewer than there were:\n%s", out)
	}
	for _, c := range suites.Cases {
		if !strings.EqualFold(c.Status, "passed") {
			t.Errorf("%s %s: %s: %s%s%s\n%s", c.Class, c.Name, c.Status, c.Skipped, c.Failure, c.Error, c.Output)
		}
	}
}
