package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Limits of one image, beyond which it is taken for an attack or an accident.
const (
	maxDepth     = 8     // indexes in indexes
	maxManifests = 1000  // of all indexes together
	maxBlobs     = 50000 // of all manifests together
)

// Options of a copy; the zero value is usable.
type Options struct {
	Parallel int      // blobs that move at once; 0 means 4
	Platform string   // "linux/arm64": only this manifest of an index
	Progress Progress // may be nil
}

func (o Options) progress() Progress {
	if o.Progress == nil {
		return silent{}
	}
	return o.Progress
}

// A Result says what a copy did.
type Result struct {
	Root      ocispec.Descriptor
	Manifests []ocispec.Descriptor // of images: what is no index
	Blobs     int                  // distinct ones that the image has
	Size      int64                // bytes of these
	Moved     int                  // those that the destination did not have
	MovedSize int64
}

// Copy moves the image in src to dst, and finishes dst. It closes neither. An
// index goes with all that it names. Errors: the classes of this package, and
// those of src and dst.
func Copy(ctx context.Context, dst Destination, src Source, o Options) (Result, error) {
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	t, err := collect(ctx, src, o)
	if err != nil {
		return Result{}, err
	}
	missing, err := dst.Missing(ctx, t.blobs)
	if err != nil {
		return Result{}, err
	}
	o.progress().Plan(t.blobs, missing)
	if err := each(ctx, o.Parallel, missing, func(ctx context.Context, d ocispec.Descriptor) error {
		return putBlob(ctx, dst, src, d, o.progress())
	}); err != nil {
		return Result{}, err
	}
	// From the deepest level up: nobody accepts a manifest before what it names.
	for level := len(t.levels) - 1; level > 0; level-- {
		if err := each(ctx, o.Parallel, t.levels[level], func(ctx context.Context, m *manifest) error {
			return dst.PutManifest(ctx, m.Descriptor, m.bytes)
		}); err != nil {
			return Result{}, err
		}
	}
	root := t.levels[0][0]
	if err := dst.Finish(ctx, root.Descriptor, root.bytes); err != nil {
		return Result{}, err
	}
	r := Result{Root: root.Descriptor, Blobs: len(t.blobs), Moved: len(missing)}
	for _, level := range t.levels {
		for _, m := range level {
			if !isIndex(m.MediaType) {
				r.Manifests = append(r.Manifests, m.Descriptor)
			}
		}
	}
	for _, d := range t.blobs {
		r.Size += d.Size
	}
	for _, d := range missing {
		r.MovedSize += d.Size
	}
	return r, nil
}

func putBlob(ctx context.Context, dst Destination, src Source, d ocispec.Descriptor, p Progress) error {
	return onceMore(ctx, func() error {
		meter := p.Begin(Move, d)
		err := dst.PutBlob(ctx, d, newContent(src, d, meter))
		meter.End(err)
		return err
	})
}

// onceMore calls f again if something was damaged: a bit may have been flipped on
// the way, and not where it came from.
func onceMore(ctx context.Context, f func() error) error {
	err := f()
	if errors.Is(err, ErrDamaged) && ctx.Err() == nil {
		err = f()
	}
	return err
}

// each calls f for all of list, at most parallel at once. Of several errors the
// first counts: the others come of the end that it made of ctx.
func each[T any](ctx context.Context, parallel int, list []T, f func(context.Context, T) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, x := range list {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return f(gctx, x) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// A tree is all that an image names.
type tree struct {
	levels [][]*manifest        // the root alone in the first; what names another stands before it
	blobs  []ocispec.Descriptor // distinct, in the order in which they are named
}

// collect reads all manifests of the image.
func collect(ctx context.Context, src Source, o Options) (*tree, error) {
	root, err := src.Root(ctx)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(ctx, src, root)
	if err != nil {
		return nil, err
	}
	if o.Platform != "" && isIndex(m.MediaType) {
		d, err := choosePlatform(m, o.Platform, src)
		if err != nil {
			return nil, err
		}
		if m, err = readManifest(ctx, src, d); err != nil {
			return nil, err
		}
	}
	t := &tree{}
	depth := map[digest.Digest]int{} // the deepest level at which a manifest is named
	read := map[digest.Digest]*manifest{}
	level := []*manifest{m}
	for len(level) > 0 {
		if len(t.levels) == maxDepth {
			return nil, at(src, fail(ErrUnsupported, "the indexes of %s are nested more than %d deep", root.Digest, maxDepth))
		}
		var below []ocispec.Descriptor
		for _, m := range level {
			depth[m.Digest] = len(t.levels)
			read[m.Digest] = m
			below = append(below, m.manifests...)
		}
		t.levels = append(t.levels, level)
		if len(read)+len(below) > maxManifests {
			return nil, at(src, fail(ErrUnsupported, "%s has more than %d manifests", root.Digest, maxManifests))
		}
		if level, err = readLevel(ctx, src, o.Parallel, unique(below), read); err != nil {
			return nil, err
		}
	}
	return t, t.settle(depth, root.Digest, src)
}

// settle leaves each manifest at its deepest level, and lists the blobs.
func (t *tree) settle(depth map[digest.Digest]int, root digest.Digest, src Source) error {
	var blobs []ocispec.Descriptor
	for i, level := range t.levels {
		kept := level[:0:0]
		for _, m := range level {
			if depth[m.Digest] == i {
				kept = append(kept, m)
				blobs = append(blobs, m.blobs()...)
			}
		}
		t.levels[i] = kept
	}
	t.blobs = unique(blobs)
	if len(t.blobs) > maxBlobs {
		return at(src, fail(ErrUnsupported, "%s has more than %d blobs", root, maxBlobs))
	}
	sizes := map[digest.Digest]int64{}
	for _, d := range blobs {
		if s, ok := sizes[d.Digest]; ok && s != d.Size {
			return at(src, fail(ErrDamaged, "%s names %s once with %d bytes and once with %d", root, d.Digest, s, d.Size))
		}
		sizes[d.Digest] = d.Size
	}
	return nil
}

func readLevel(ctx context.Context, src Source, parallel int, ds []ocispec.Descriptor, read map[digest.Digest]*manifest) ([]*manifest, error) {
	level := make([]*manifest, len(ds))
	var indexes []int
	for i := range ds {
		if level[i] = read[ds[i].Digest]; level[i] == nil {
			indexes = append(indexes, i)
		}
	}
	err := each(ctx, parallel, indexes, func(ctx context.Context, i int) (err error) {
		level[i], err = readManifest(ctx, src, ds[i])
		return err
	})
	return level, err
}

func readManifest(ctx context.Context, src Source, d ocispec.Descriptor) (*manifest, error) {
	if d.Size > MaxManifest {
		return nil, at(src, fail(ErrUnsupported, "manifest %s has %d bytes, allowed are %d", d.Digest, d.Size, MaxManifest))
	}
	var b []byte
	err := onceMore(ctx, func() (err error) {
		b, err = src.Manifest(ctx, d)
		return err
	})
	if errors.Is(err, ErrNotFound) && d.Platform != nil {
		return nil, fmt.Errorf("%w (an image for one platform only can be chosen with --platform)", err)
	}
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return nil, at(src, fail(ErrDamaged, "manifest %s is damaged: its bytes have the digest %s (get it anew from where it came from)", d.Digest, got))
	}
	d.Size = int64(len(b))
	m, err := parseManifest(d, b)
	if err != nil {
		return nil, at(src, err)
	}
	return m, nil
}

// unique drops what is named twice; what is left keeps its order.
func unique(ds []ocispec.Descriptor) []ocispec.Descriptor {
	var list []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range ds {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			list = append(list, d)
		}
	}
	return list
}
