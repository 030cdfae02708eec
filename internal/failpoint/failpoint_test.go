package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var (
	first  = New("test-first")
	second = New("test-second")
)

// TestMain lets the test binary be the process that dies.
func TestMain(m *testing.M) {
	if os.Getenv("FAILPOINT_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	for range 3 {
		first.Hit()
		second.Hit()
	}
}

func TestHitKillsAtTheChosenStepOnly(t *testing.T) {
	for _, tt := range []struct {
		env    string
		killed bool
	}{
		{"", false},
		{"test-first", true},
		{"test-second", true},
		{"test-second:3", true},
		{"test-second:4", false},
		{"test-third", false},
	} {
		t.Run(tt.env, func(t *testing.T) {
			out, err := child(tt.env)
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if killed != tt.killed || (err != nil && !killed) {
				t.Errorf("killed %v, want %v (%v)\n%s", killed, tt.killed, err, out)
			}
		})
	}
}

func TestAValueThatCannotBeReadStopsTheProcess(t *testing.T) {
	for _, env := range []string{"test-first:0", "test-first:x", "test-first:"} {
		if out, err := child(env); err == nil || !strings.Contains(out, "want NAME or NAME:N") {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
}

func TestNamesListsEveryStep(t *testing.T) {
	if got, want := Names(), []string{"test-first", "test-second"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTwoStepsOfOneNameAreRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the second test-first was accepted")
		}
	}()
	New("test-first")
}

func child(env string) (string, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAILPOINT_TEST_CHILD=1", Env+"="+env)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
