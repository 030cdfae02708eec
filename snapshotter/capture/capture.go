package capture

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Write writes the layer to w, which may be a Sink. Files that change while
// they are read are written with the size that they had when they were opened,
// and named in Result.Altered. Errors: ErrForeign, ErrPattern, ErrLimit, those
// of the filesystem, of w and of ctx.
func Write(ctx context.Context, w io.Writer, o Options) (Result, error) {
	t := &tarWriter{ctx: ctx, sink: asSink(w), progress: o.OnProgress}
	result, err := run(ctx, t, o)
	if err != nil {
		return Result{}, err
	}
	if err := t.close(); err != nil {
		return Result{}, err
	}
	result.Size, result.Entries = t.size, t.entries
	return result, nil
}

// List finds the changes, calls o.OnChange with each of them, and writes
// nothing. Files of the upper are read only where nothing else tells whether
// they have changed.
func List(ctx context.Context, o Options) (Result, error) { return run(ctx, nil, o) }

func run(ctx context.Context, t *tarWriter, o Options) (Result, error) {
	x, err := newExclusions(o.Exclude)
	if err != nil {
		return Result{}, err
	}
	w := &walker{ctx: ctx, o: o, marks: trustedMarks, exclude: x, tar: t}
	if o.UserXattr {
		w.marks = userMarks
	}
	w.budget.left.Store(maxFolders)

	up, err := openFolder(unix.AT_FDCWD, o.Upper, w.marks, &w.budget)
	if err != nil {
		return Result{}, fmt.Errorf("upper folder %s: %w", o.Upper, err)
	}
	defer up.close()
	low, err := openLowers(o.Lowers, w.marks, &w.budget)
	if err != nil {
		return Result{}, fmt.Errorf("lower folders %q: %w", o.Lowers, err)
	}
	defer low.close()
	if err := w.root(up, low); err != nil {
		return Result{}, err
	}
	return w.result, nil
}
