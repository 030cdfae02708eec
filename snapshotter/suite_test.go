package snapshotter_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"

	"github.com/laminastore/lamina/internal/needs"
)

// TestSnapshotterSuite is containerd's own: what it expects of a snapshotter,
// here of ours behind its socket. The name lets it skip the one check of Rename
// that no overlayfs without redirects can pass.
func TestSnapshotterSuite(t *testing.T) {
	needs.Root(t)
	testsuite.SnapshotterSuite(t, "overlayfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		socket := socketIn(filepath.Dir(root))
		_, stop, err := openAndServe(root, socket)
		if err != nil {
			return nil, nil, err
		}
		return client(t, socket), stop, nil
	})
}
