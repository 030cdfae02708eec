// Package needs says what a test cannot do without. A test that asks for
// something that is not there is skipped on a developer's machine and fails in
// CI (CI=true or LAMINA_CI=1), so that a green CI has run everything.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// Root is for tests that mount or run containers.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "needs root")
	}
}

// Commands is for tests that run these programs. They are looked up on PATH,
// which scripts/env.sh sets so that the pinned tools come first.
func Commands(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, "needs "+name+" on PATH (scripts/setup.sh installs it, scripts/env.sh finds it)")
		}
	}
}

// That is for what only the test itself can find out, with the reason it is not
// there: needs.That(t, err == nil, "needs loop devices: …").
func That(t testing.TB, ok bool, otherwise string) {
	t.Helper()
	if !ok {
		missing(t, otherwise)
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("LAMINA_CI") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}
