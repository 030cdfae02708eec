package lockfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(path)
	if !errors.Is(err, ErrHeld) {
		t.Fatalf("second Take: %v, want ErrHeld", err)
	}
	if holder := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(err.Error(), holder) {
		t.Errorf("%q does not name %s", err, holder)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	lock, err = Take(path)
	if err != nil {
		t.Fatalf("Take after Release: %v", err)
	}
	lock.Release()
}

func TestAFolderThatIsNotThereIsNoHolder(t *testing.T) {
	_, err := Take(filepath.Join(t.TempDir(), "none", "lock"))
	if err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("got %v", err)
	}
}
