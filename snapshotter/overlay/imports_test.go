package overlay_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Commit, Remove, Walk and Stat do no network I/O, because there is nothing in
// the package to do it with.
func TestNothingHereTalksToANetwork(t *testing.T) {
	deps := golist(t, "-deps", ".")
	if len(deps) < 100 {
		t.Fatalf("only %d dependencies: the test sees nothing", len(deps))
	}
	for _, dep := range deps {
		for _, network := range []string{"net/http", "net/rpc", "crypto/tls", "google.golang.org/grpc", "github.com/containerd/ttrpc"} {
			if dep == network || strings.HasPrefix(dep, network+"/") {
				t.Errorf("depends on %s", dep)
			}
		}
		ours, found := strings.CutPrefix(dep, "github.com/laminastore/lamina/")
		if found && !strings.HasPrefix(ours, "internal/") && ours != "snapshotter/overlay" {
			t.Errorf("depends on %s: the dependencies of Lamina's parts point one way", dep)
		}
	}
	for _, direct := range golist(t, "-f", `{{join .Imports "\n"}}`, ".") {
		if direct == "net" || strings.HasPrefix(direct, "net/") {
			t.Errorf("imports %s", direct)
		}
	}
}

func golist(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
