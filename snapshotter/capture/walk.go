package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A walker goes through the upper, folder by folder, each in the order of its
// names.
type walker struct {
	ctx     context.Context
	o       Options
	marks   marks
	budget  budget
	exclude *exclusions
	tar     *tarWriter // nil to list only
	links   links
	pending []*pending // the folders that lead to where the walker is
	result  Result
}

// A place is a name in a folder of the upper, in the lowers, or in both.
type place struct {
	name     string
	path     string // from the root, without the first slash
	up       *inode // nil: only the lowers have it
	low      *lower
	mode     mode
	excluded bool
	matched  matched
}

// A mode says what of the lowers is seen through a folder of the upper.
type mode int

const (
	// merged: the folder is one with those of the lowers.
	merged mode = iota
	// hidden: the lowers are out of sight, because this folder or one above it
	// is opaque, and the layer says so.
	hidden
	// spelled: the same, but something excluded is in the lowers there, which has
	// to stay. So the layer says of each other thing that it is gone.
	spelled
)

// whiteoutPrefix begins the names of files that delete another, and opaqueName
// is the file that hides what is below a folder (OCI image-spec, layer.md).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// root reads the upper. The top folder gets an entry only when its owner, mode
// or xattrs have changed: its time always has, and few programs heed it.
func (w *walker) root(up *folder, low *lower) error {
	top, err := hold(up.fd, ".")
	if err != nil {
		return err
	}
	defer top.close()
	if err := w.checkMarks(top); err != nil {
		return at("", err)
	}
	if low.exists() {
		same, err := same(top, low.inode, false)
		if err != nil {
			return err
		}
		if !same {
			h, notes, err := header(".", top)
			if err != nil {
				return err
			}
			w.pending = append(w.pending, &pending{path: "", header: h, notes: notes, kind: Changed, listed: true})
			if err := w.begin(); err != nil {
				return err
			}
			w.pending = nil
		}
	}
	return w.folder(up, low, "", merged, matched{})
}

// folder goes through the entries of an open folder.
func (w *walker) folder(up *folder, low *lower, path string, mode mode, parent matched) error {
	names, err := up.names()
	if err != nil {
		return at(path, err)
	}
	if mode != merged { // where the layer or the list has to name what is gone
		below, err := low.names()
		if err != nil {
			return at(path, fmt.Errorf("in the layers below: %w", err))
		}
		names = append(names, below...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(up, low, path, name, mode, parent); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(up *folder, low *lower, dir, name string, mode mode, parent matched) (err error) {
	p := &place{name: name, path: name, mode: mode}
	if dir != "" {
		p.path = dir + "/" + name
	}
	defer func() {
		// Errors of files get the path here; those of places below have it already.
		if _, ok := err.(placed); err != nil && !ok {
			err = at(p.path, err)
		}
	}()
	if p.up, err = hold(up.fd, name); err != nil && !vanished(err) {
		return err
	}
	if p.up != nil {
		defer p.up.close()
	}
	if p.low, err = low.lookup(name, w.marks, &w.budget); err != nil {
		return err
	}
	defer p.low.close()
	if p.excluded, p.matched, err = w.exclude.match(p.path, parent); err != nil {
		return err
	}
	return w.visit(p)
}

// placed is an error that says where.
type placed struct{ error }

func (p placed) Unwrap() error { return p.error }

func at(path string, err error) error {
	const most = 300 // a path may be long
	if len(path) > most {
		path = path[:most/2] + "…" + path[len(path)-most/2:]
	}
	return placed{fmt.Errorf("/%s: %w", path, err)}
}

// visit finds out what has become of a place.
func (w *walker) visit(p *place) error {
	if p.up == nil {
		if p.mode == merged {
			return nil // it vanished while we looked
		}
		return w.gone(p)
	}
	whiteout := isWhiteout(&p.up.stat)
	if !whiteout {
		var err error
		if whiteout, err = w.marks.whiteoutByXattr(p.up.magic(), &p.up.stat); err != nil {
			return err
		}
	}
	switch {
	case whiteout:
		return w.gone(p)
	case w.o.MaxPath > 0 && len(p.path) > w.o.MaxPath:
		// As is the path of a whiteout here.
		w.skip(p.path, fmt.Sprintf("has a path of more than %d bytes, which cannot be unpacked", w.o.MaxPath))
		return nil
	case p.excluded && (w.exclude == nil || !w.exclude.exceptions || !p.up.isDir()):
		return nil
	case strings.HasPrefix(p.name, whiteoutPrefix):
		w.skip(p.path, "has a name that begins with "+whiteoutPrefix+", which deletes a file when it is in a layer")
		return w.gone(p)
	}
	if err := w.checkMarks(p.up); err != nil {
		return err
	}
	h, notes, err := header(p.path, p.up)
	if reason, ok := asUnfit(err); ok {
		w.skip(p.path, reason)
		return w.gone(p)
	}
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.up.isDir() {
		return w.down(p, h, notes)
	}
	return w.file(p, h, notes)
}

// checkMarks refuses what an overlay with other options has written.
func (w *walker) checkMarks(i *inode) error {
	if !i.isDir() && !i.isRegular() {
		return nil
	}
	for _, name := range w.marks.foreign() {
		_, ok, err := xattr(i.magic(), name)
		if err != nil {
			return err
		}
		if ok {
			return fmt.Errorf("%w: it has the extended attribute %s; mount with redirect_dir=off and metacopy=off, and start over with a new container", ErrForeign, name)
		}
	}
	return nil
}

func kindOf(l *lower) Kind {
	if l.exists() {
		return Changed
	}
	return Added
}

// sizeOf is the size that a Change tells.
func sizeOf(i *inode) int64 {
	if i.stat.Mode&unix.S_IFMT == unix.S_IFREG {
		return i.stat.Size
	}
	return 0
}
