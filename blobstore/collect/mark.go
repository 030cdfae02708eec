package collect

import (
	"context"
	"errors"
	"fmt"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/images"
)

// mark finds all that is named, from the roots down. An error means that
// something may have been missed.
func (c *cycle) mark(ctx context.Context) error {
	c.began = c.store.Clock().Now().UTC()
	if err := c.roots(ctx); err != nil {
		return err
	}
	if err := c.tags(ctx); err != nil {
		return err
	}
	for depth := 0; depth < len(c.levels); depth++ {
		if depth < maxLevels {
			c.levels = append(c.levels, c.sorter(levelMemory))
		}
		found, err := c.level(ctx, depth)
		if err != nil {
			return err
		}
		if !found {
			break
		}
	}
	return nil
}

// ownersAtOnce is how many owners of one manifest are dealt with at once: the
// manifest is read once for as many.
const ownersAtOnce = 1000

// level reads the manifests of a level that no level above has, marks what they
// name, and puts the manifests among that into the next level. It says whether
// there were any.
func (c *cycle) level(ctx context.Context, depth int) (found bool, err error) {
	var above []*runs.Cursor
	for _, s := range c.levels[:depth] {
		cur := s.Walk()
		defer cur.Close()
		above = append(above, cur)
	}
	g, gctx := c.parallel(ctx)
	var group []owner
	var fresh bool // no level above has the group's manifest at all
	flush := func() {
		if len(group) > 0 {
			owners, first := group, fresh
			group, fresh = nil, false
			g.Go(func() error { return c.manifest(gctx, depth, owners, first) })
		}
	}
	err = func() error {
		var last []byte
		for b, err := range c.levels[depth].Sorted() {
			if err == nil {
				err = gctx.Err()
			}
			if err != nil {
				return err
			}
			o, prefix, err := decodeOwner(b)
			if err != nil {
				return err
			}
			if string(prefix) == string(last) { // another way by which the same repository has it
				continue
			}
			last = append(last[:0], prefix...)
			known, same, err := seenAbove(above, prefix)
			if err != nil {
				return err
			}
			if same || known && o.held() {
				continue
			}
			if len(group) > 0 && (group[0].digest != o.digest || len(group) == ownersAtOnce) {
				again := group[0].digest == o.digest
				flush()
				fresh = !known && !again
			} else if len(group) == 0 {
				fresh = !known
			}
			found = true
			group = append(group, o)
		}
		flush()
		return nil
	}()
	return found, firstCause(g.Wait(), err)
}

// seenAbove says whether a level above has the manifest, and whether one has it
// of the same repository.
func seenAbove(above []*runs.Cursor, prefix []byte) (known, same bool, err error) {
	_, key, _, err := cutDigest(prefix)
	if err != nil {
		return false, false, err
	}
	for _, cur := range above {
		known = cur.Skip(key) || known
		same = cur.Skip(prefix) || same
		if err := cur.Err(); err != nil {
			return false, false, err
		}
	}
	return known, same, nil
}

// smallManifest is the size in bytes up to which manifests are read at once;
// larger ones are read one after another, for the sake of memory.
const smallManifest = 256 << 10

// manifest reads a manifest for its owners, and marks it and what it names.
// First says that it has not been read before.
func (c *cycle) manifest(ctx context.Context, depth int, owners []owner, first bool) error {
	d := owners[0].digest
	held, lenient := true, true
	for i := range owners {
		held = held && owners[i].held()
		lenient = lenient && owners[i].lenient()
	}
	if err := c.markOne(d, held); err != nil {
		return err
	}
	b, err := c.store.Peek(ctx, d, smallManifest)
	if errors.Is(err, blobstore.ErrTooLarge) {
		c.large.Lock()
		defer c.large.Unlock()
		b, err = c.store.Peek(ctx, d, images.MaxManifestSize)
	}
	var n images.Names
	if err == nil {
		n, err = parse(owners, b)
	}
	switch {
	case unknown(err):
		c.missing(owners)
		return nil
	case lenient && (errors.Is(err, blobstore.ErrManifestInvalid) || errors.Is(err, blobstore.ErrTooLarge)):
		return nil // a blob of another kind: it is marked, and names nothing
	case err != nil:
		o := &owners[0]
		for i := range owners {
			if owners[i].linked() {
				o = &owners[i]
			}
		}
		return fmt.Errorf("manifest %s %s cannot be read, so nobody knows what it names: %w%s", d, o, err, toDo(err, o))
	}
	if err := c.named(depth, owners, held, n); err != nil {
		return err
	}
	if first {
		c.mu.Lock()
		c.report.Manifests++
		c.mu.Unlock()
	}
	c.countManifest(owners, int64(len(b)), n)
	c.step()
	return nil
}

// toDo says what helps against an error, where that is known.
func toDo(err error, o *owner) string {
	if !errors.Is(err, blobstore.ErrCorrupt) && !errors.Is(err, blobstore.ErrManifestInvalid) {
		return ""
	}
	if o.linked() {
		return fmt.Sprintf(" (push it again, or delete it: lamina rm %s@%s)", o.repo, o.digest)
	}
	return " (push it again)"
}

// parse reads what a manifest names. What an owner says of its kind may be
// wrong: then its own word counts.
func parse(owners []owner, b []byte) (n images.Names, err error) {
	tried := map[string]bool{}
	for i := range owners {
		if mt := owners[i].mediaType; mt != "" && !tried[mt] {
			tried[mt] = true
			if n, err = images.ParseNames(mt, b); err == nil {
				return n, nil
			}
		}
	}
	if m, merr := images.ParseNames("", b); merr == nil || err == nil {
		return m, merr
	}
	return n, err
}

// named marks what a manifest names, and has the manifests among that followed.
func (c *cycle) named(depth int, owners []owner, held bool, n images.Names) error {
	mark := func(ds ...images.Descriptor) error {
		for _, d := range ds {
			if err := c.markOne(d.Digest, held); err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(mark(n.Layers...), mark(n.Elsewhere...), mark(n.Manifests...))
	if n.Config != nil {
		err = errors.Join(err, mark(*n.Config))
	}
	if err != nil || depth+1 >= len(c.levels) {
		return err
	}
	for _, m := range n.Manifests {
		if m.MediaType != "" && !images.IsManifest(m.MediaType) && !images.IsIndex(m.MediaType) {
			continue
		}
		for i := range owners {
			child := owners[i].child(m)
			if err := c.own(c.levels[depth+1], &child); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing notes that a manifest is not there. Some were never expected to be.
func (c *cycle) missing(owners []owner) {
	for i := range owners {
		o := &owners[i]
		switch {
		case o.linked():
			c.problem(string(o.digest), string(o.repo), "the repository has the manifest, but its bytes are not in the store: push it again, or delete it: lamina rm %s@%s", o.repo, o.digest)
		case o.how == named && o.repo != "":
			c.problem(string(o.digest), string(o.repo), "an index names the manifest, but its bytes are not in the store: push it again, or delete the index")
		case o.how == registered:
			c.problem(string(o.digest), "", "a registered snapshot names the manifest, but its bytes are not in the store: delete the snapshot, or push the image again")
		}
	}
}

// countManifest tells who counts of a manifest.
func (c *cycle) countManifest(owners []owner, size int64, n images.Names) {
	var ds []images.Descriptor
	if n.Config != nil {
		ds = append(ds, *n.Config)
	}
	ds = append(append(ds, n.Layers...), n.Manifests...)
	c.mu.Lock()
	defer c.mu.Unlock()
	inRepo := false
	for i := range owners {
		o := &owners[i]
		inRepo = inRepo || o.repo != ""
	}
	for i := range owners {
		o := &owners[i]
		if o.repo == "" && inRepo {
			continue
		}
		c.tally.Manifest(o.repo, images.Descriptor{Digest: o.digest, MediaType: o.mediaType, Size: size}, ds, o.created())
	}
}
