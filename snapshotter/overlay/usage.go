package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// unmeasured is stored for a layer that was too large to measure in the time
// that Commit had. Usage then measures it when asked.
var unmeasured = snapshots.Usage{Inodes: -1, Size: -1}

// measure tells what a snapshot takes on disk now.
func (s *Snapshotter) measure(ctx context.Context, id string) (snapshots.Usage, error) {
	usage, err := diskUsage(ctx, s.root.fs(id))
	if errors.Is(err, os.ErrNotExist) {
		return usage, fmt.Errorf("it was removed meanwhile: %w", errdefs.ErrNotFound)
	}
	return usage, err
}

// diskUsage counts the inodes below path, path among them, and the bytes that
// they take on disk; hard links count once. A container may be at work there: what
// vanishes while it is being measured does not count.
func diskUsage(ctx context.Context, path string) (snapshots.Usage, error) {
	type inode struct{ dev, ino uint64 }
	var usage snapshots.Usage
	links := map[inode]struct{}{}
	err := filepath.WalkDir(path, func(sub string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, os.ErrNotExist) && sub != path {
			return nil
		}
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if !entry.IsDir() && stat.Nlink > 1 {
			key := inode{uint64(stat.Dev), stat.Ino}
			if _, seen := links[key]; seen {
				return nil
			}
			links[key] = struct{}{}
		}
		usage.Inodes++
		usage.Size += stat.Blocks * 512 // st_blocks counts these, whatever the filesystem's own
		return nil
	})
	return usage, err
}
