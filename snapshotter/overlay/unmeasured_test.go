package overlay

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/laminastore/lamina/internal/needs"
)

// A layer that Commit had no time to measure is measured when someone asks.
func TestUsageOfALayerThatWasNotMeasured(t *testing.T) {
	needs.Root(t)
	s, err := Open(Config{Root: filepath.Join(t.TempDir(), "root"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Prepare(t.Context(), "key", ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.root.fs("1"), "file"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.root.syncAll(); err != nil {
		t.Fatal(err)
	}
	err = s.meta.write(t.Context(), func(ctx context.Context) error {
		_, err := storage.CommitActive(ctx, "key", "name", unmeasured)
		return err
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := s.Usage(t.Context(), "name")
	if err != nil || usage.Inodes != 2 || usage.Size < 1<<20 {
		t.Errorf("got %+v, %v", usage, err)
	}
}
