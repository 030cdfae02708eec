package capture

import "golang.org/x/sys/unix"

// gone handles a place where the lowers have something, perhaps, and the view
// has nothing.
func (w *walker) gone(p *place) error {
	if !p.low.exists() {
		return nil
	}
	if p.mode == hidden { // the layer says so already
		return w.change(p.path, Deleted, 0)
	}
	if p.excluded && !(p.low.isDir() && w.exclude.exceptions) {
		return nil
	}
	keep, err := w.keepsSome(p.low, p.path, p.matched)
	if err != nil {
		return err
	}
	if keep || p.excluded {
		return w.goneBut(p)
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.change(p.path, Deleted, 0); err != nil {
		return err
	}
	if w.tar == nil {
		return nil
	}
	dir := p.path[:len(p.path)-len(p.name)]
	return w.tar.whiteout(dir + whiteoutPrefix + p.name)
}

// goneBut deletes what is in a folder of the lowers, but not the folder, since
// something in it is excluded.
func (w *walker) goneBut(p *place) error {
	h, notes, err := header(p.path, p.low.inode)
	if err != nil {
		return err
	}
	w.pending = append(w.pending, &pending{path: p.path, header: h, notes: notes, kind: Changed, listed: true})
	defer func() { w.pending = w.pending[:len(w.pending)-1] }()
	names, err := p.low.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.goneEntry(p, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) goneEntry(dir *place, name string) (err error) {
	p := &place{name: name, path: dir.path + "/" + name, mode: spelled}
	if p.low, err = dir.low.lookup(name, w.marks, &w.budget); err != nil {
		return err
	}
	defer p.low.close()
	if p.excluded, p.matched, err = w.exclude.match(p.path, dir.matched); err != nil {
		return err
	}
	return w.gone(p)
}

// keepsSome says whether anything in a folder of the lowers is excluded, and so
// has to stay.
func (w *walker) keepsSome(low *lower, path string, parent matched) (bool, error) {
	if w.exclude == nil || !low.isDir() {
		return false, nil
	}
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	names, err := low.names()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		sub, err := low.lookup(name, w.marks, &w.budget)
		if err != nil {
			return false, at(path+"/"+name, err)
		}
		keep := false
		if sub.exists() {
			var info matched
			keep, info, err = w.exclude.match(path+"/"+name, parent)
			if err == nil && !keep && sub.inode.kind() == unix.S_IFDIR {
				keep, err = w.keepsSome(sub, path+"/"+name, info)
			}
		}
		sub.close()
		if keep || err != nil {
			return keep, err
		}
	}
	return false, nil
}
