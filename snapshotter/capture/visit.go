package capture

import (
	"archive/tar"
	"fmt"
)

// down handles a folder of the upper, and what is in it.
func (w *walker) down(p *place, h *tar.Header, notes []string) error {
	up, err := openFolder(p.up.fd, ".", w.marks, &w.budget)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer up.close()

	changed := !p.low.isDir() || p.mode != merged || up.opaque == "y"
	if !changed {
		same, err := sameMeta(p.up, p.low.inode)
		if err != nil {
			return err
		}
		changed = !same
	}
	if p.excluded {
		// It is here only for what may be included below it.
		changed = false
		if p.low.isDir() {
			if h, notes, err = header(p.path, p.low.inode); err != nil {
				return err
			}
		}
	}
	w.pending = append(w.pending, &pending{path: p.path, header: h, notes: notes, kind: kindOf(p.low), listed: true})
	defer func() { w.pending = w.pending[:len(w.pending)-1] }()
	if changed {
		if err := w.begin(); err != nil {
			return err
		}
	}
	mode, err := w.modeBelow(p, up)
	if err != nil {
		return err
	}
	return w.folder(up, p.low, p.path, mode, p.matched)
}

// modeBelow decides how a folder's relation to the lowers is put into the layer,
// and marks the folder opaque where that is how.
func (w *walker) modeBelow(p *place, up *folder) (mode, error) {
	switch {
	case !p.low.isDir():
		return merged, nil // with nothing
	case p.mode == hidden:
		return hidden, nil
	case p.mode == merged && up.opaque != "y":
		return merged, nil
	}
	keep, err := w.keepsSome(p.low, p.path, p.matched)
	if err != nil {
		return 0, err
	}
	if keep || p.excluded {
		return spelled, nil
	}
	if w.tar != nil {
		if err := w.tar.whiteout(p.path + "/" + opaqueName); err != nil {
			return 0, err
		}
	}
	return hidden, nil
}

// file handles what is not a folder.
func (w *walker) file(p *place, h *tar.Header, notes []string) error {
	if p.low.exists() && p.mode == merged {
		same, err := sameFile(w.ctx, p.up, p.low.inode)
		if same || err != nil && !vanished(err) {
			return err
		}
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.change(p.path, kindOf(p.low), sizeOf(p.up)); err != nil {
		return err
	}
	for _, note := range notes {
		w.alter(p.path, note)
	}
	if w.tar == nil {
		return nil
	}
	if first, ok := w.links.first(p.up); ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return w.tar.header(h)
	}
	if !w.links.written(p.path, p.up) {
		w.alter(p.path, "is a file of its own in the layer: there are too many hard links to remember")
	}
	if !p.up.isRegular() || h.Size == 0 {
		return w.tar.header(h)
	}
	return w.regular(p, h)
}

// regular writes a file with its content.
func (w *walker) regular(p *place, h *tar.Header) error {
	f, err := p.up.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.tar.header(h); err != nil {
		return err
	}
	const sectors = 512 // what st_blocks counts, whatever the filesystem's own
	missing, err := w.tar.content(f, h.Size, p.up.stat.Blocks*sectors < h.Size)
	if err != nil {
		return err
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case missing > 0:
		w.alter(p.path, fmt.Sprintf("became shorter while it was read: its last %d bytes are zeros in the layer", missing))
	case after.Size() != h.Size:
		w.alter(p.path, fmt.Sprintf("became longer while it was read: the layer has its first %d bytes", h.Size))
	case !after.ModTime().Equal(h.ModTime):
		w.alter(p.path, "was written to while it was read")
	}
	return nil
}

// A pending folder has not been written yet: that one was copied up is no
// change, until something below it has changed.
type pending struct {
	path   string
	header *tar.Header
	notes  []string
	kind   Kind
	listed bool
	done   bool
}

// begin is called before anything is written: it writes the folders that lead
// there.
func (w *walker) begin() error {
	for _, p := range w.pending {
		if p.done {
			continue
		}
		p.done = true
		if p.listed {
			if err := w.change(p.path, p.kind, 0); err != nil {
				return err
			}
		}
		for _, note := range p.notes {
			w.alter(p.path, note)
		}
		if w.tar != nil {
			if err := w.tar.header(p.header); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walker) change(path string, kind Kind, size int64) error {
	switch kind {
	case Added:
		w.result.Added++
	case Changed:
		w.result.Changed++
	case Deleted:
		w.result.Deleted++
	}
	if w.o.OnChange == nil {
		return nil
	}
	return w.o.OnChange(Change{Path: "/" + path, Kind: kind, Size: size})
}

func (w *walker) skip(path, why string) {
	w.result.SkippedCount++
	if len(w.result.Skipped) < MaxNotes {
		w.result.Skipped = append(w.result.Skipped, Note{"/" + path, why})
	}
}

func (w *walker) alter(path, how string) {
	w.result.AlteredCount++
	if len(w.result.Altered) < MaxNotes {
		w.result.Altered = append(w.result.Altered, Note{"/" + path, how})
	}
}
