package overlay

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// probe mounts overlays on the root, for real: kernel versions and module
// parameters do not tell what this kernel does on this filesystem. One overlay
// has two lower folders; a second one stands on the first, which is as deep as
// the kernel allows and as deep as layers that are mounts themselves will need.
func probe(root folder, log *slog.Logger) error {
	err := isolated(func() error { return probeOverlay(root.path("probe")) })
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		// Says nothing about overlays, and to stop here would keep what is in the
		// trash from being deleted.
		log.Warn("no space left to try overlayfs in; starting without", "root", string(root), "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("overlayfs does not work on %s (%s): %w; put the root on ext4, xfs (ftype=1) or btrfs, "+
			"not on an overlay or a network filesystem, and run as root outside of user namespaces", root, filesystem(string(root)), err)
	}
	return nil
}

// isolated runs fn on a thread with a mount namespace of its own. What fn mounts
// is not seen by others, and goes with the thread, even if the process dies.
func isolated(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			done <- fmt.Errorf("unshare mounts: %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			done <- fmt.Errorf("make mounts private: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

func probeOverlay(dir string) (err error) {
	if err := os.RemoveAll(dir); err != nil { // of a process that died here
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"bottom/dir", "top/other", "upper", "work", "merged", "upper2", "work2", "merged2"} {
		if err := os.MkdirAll(at(name), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(at("bottom/file"), []byte("lower"), 0o600); err != nil {
		return err
	}
	unmount, err := mountOverlay(at("merged"), at("upper"), at("work"), at("top"), at("bottom"))
	if err != nil {
		return err
	}
	defer unmount()
	if err := exercise(at("merged")); err != nil {
		return err
	}
	unmount2, err := mountOverlay(at("merged2"), at("upper2"), at("work2"), at("merged"))
	if err != nil {
		return fmt.Errorf("an overlay on an overlay: %w", err)
	}
	defer unmount2()
	return os.WriteFile(at("merged2/again"), nil, 0o600)
}

// exercise does what needs something of the filesystem below: a whiteout is a
// device, an opaque folder has a trusted xattr.
func exercise(merged string) error {
	if err := os.WriteFile(filepath.Join(merged, "file"), []byte("upper"), 0o600); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(merged, "file")); err != nil {
		return err
	}
	opaque := filepath.Join(merged, "dir")
	if err := os.Remove(opaque); err != nil {
		return err
	}
	return os.Mkdir(opaque, 0o700)
}

func mountOverlay(target, upper, work string, lowers ...string) (unmount func(), err error) {
	options := append([]string{
		"upperdir=" + upper, "workdir=" + work, "lowerdir=" + strings.Join(lowers, ":"),
	}, overlayOptions...)
	data := strings.Join(options, ",")
	if err := unix.Mount("overlay", target, "overlay", 0, data); err != nil {
		return nil, &os.PathError{Op: "mount overlay (" + strings.Join(overlayOptions, ",") + ")", Path: target, Err: err}
	}
	// The namespace would take it along, but the folders are deleted before.
	return func() { _ = unix.Unmount(target, unix.MNT_DETACH) }, nil
}

// filesystem names what a path is on, for an error message.
func filesystem(path string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "unknown filesystem"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	}
	return fmt.Sprintf("filesystem %#x", st.Type)
}
