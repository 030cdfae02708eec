package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A shape says what a store is to hold.
type shape struct {
	blobs, manifests int // the manifests, and a config for each, are among the blobs
	layers           int // of an image, at least
	garbage          float64
}

// Sizes. Small blobs are in their records; every so many layers one has data of
// its own, which is what a collection deletes.
const (
	layerSize    = 200
	dataSize     = blobstore.MaxInline + 1
	dataEvery    = 500
	imagesInRepo = 100
)

func (s *shape) garbageBlobs() int { return int(float64(s.blobs) * s.garbage) }
func (s *shape) used() int         { return s.blobs - 2*s.manifests - s.garbageBlobs() }
func (s *shape) repos() int        { return max(1, s.manifests/imagesInRepo) }

// base is how many layers are shared: they are those of the most popular images.
func (s *shape) base() int { return max(1, s.used()/50) }

func (s *shape) check() error {
	if s.manifests < 1 || s.layers < 1 || s.garbage < 0 || s.garbage > 0.9 || s.used() < s.manifests {
		return errors.New("there must be a manifest, and a layer or more that is no garbage for each")
	}
	return nil
}

// A target is the bucket a store is made in, and how many calls it takes at once.
type target struct {
	bucket.Bucket
	parallel int
}

// A making is what was made, and how long it took.
type making struct {
	objects, data, links int64
	took                 time.Duration
}

// A pastime is the clock of who makes a store, and waits for nothing.
type pastime struct{ blobstore.SystemClock }

func (pastime) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// A maker makes a store, by the ways a server takes.
type maker struct {
	shape
	store  *blobstore.Store
	images *images.Images
	made   struct{ blobs, data, links atomic.Int64 }
}

func (s shape) make(ctx context.Context, t target) (making, error) {
	began := time.Now()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	store := blobstore.New(t.Bucket, blobstore.Options{Clock: pastime{}, Logger: quiet})
	m := &maker{shape: s, store: store, images: images.New(store, nil, images.Options{Logger: quiet})}
	err := errors.Join(m.all(ctx, t.parallel), store.Close(ctx))
	out := making{data: m.made.data.Load(), links: m.made.links.Load(), took: time.Since(began)}
	out.objects = m.made.blobs.Load() + out.data + out.links + 2*int64(s.manifests) + int64(s.repos())
	return out, err
}

// all makes the shared layers, then the images, repository by repository, and
// then the garbage.
func (m *maker) all(ctx context.Context, parallel int) error {
	for _, step := range []struct {
		n int
		f func(ctx context.Context, i int) error
	}{
		{m.base(), func(ctx context.Context, i int) error { _, err := m.blob(ctx, i); return err }},
		{m.repos(), m.repository},
		{m.garbageBlobs(), m.loose},
	} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for i := range step.n {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error { return step.f(ctx, i) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// layer returns the bytes of the i-th layer.
func layer(i int) []byte {
	n := layerSize
	if i%dataEvery == dataEvery-1 {
		n = dataSize
	}
	b := make([]byte, n)
	var seed [32]byte
	copy(seed[:], fmt.Sprint(i))
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// blob stores the i-th layer.
func (m *maker) blob(ctx context.Context, i int) (ocispec.Descriptor, error) {
	b := layer(i)
	if len(b) > blobstore.MaxInline {
		m.made.data.Add(1)
	}
	return m.put(ctx, ocispec.MediaTypeImageLayerGzip, b)
}

func (m *maker) put(ctx context.Context, mediaType string, b []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	_, err := m.store.PutSmall(ctx, d.Digest, b)
	m.made.blobs.Add(1)
	return d, err
}

func repoName(r int) reference.Repository {
	return reference.Repository(fmt.Sprintf("team-%02d/app-%04d", r%20, r))
}

// repository makes all images of a repository.
func (m *maker) repository(ctx context.Context, r int) error {
	from, to := r*m.manifests/m.repos(), (r+1)*m.manifests/m.repos()
	held := map[digest.Digest]bool{}
	for i := from; i < to; i++ {
		if err := m.image(ctx, repoName(r), held, i); err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
	}
	return nil
}

// image makes the i-th image: its own layers, and shared ones below them.
func (m *maker) image(ctx context.Context, repo reference.Repository, held map[digest.Digest]bool, i int) error {
	own := m.used() - m.base()
	from, to := m.base()+i*own/m.manifests, m.base()+(i+1)*own/m.manifests
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	random := rand.New(rand.NewPCG(uint64(i), 1))
	add := func(d ocispec.Descriptor, err error) error {
		if err == nil && !held[d.Digest] {
			held[d.Digest] = true
			m.made.links.Add(1)
			err = m.store.LinkBlob(ctx, repo, d.Digest, time.Time{})
		}
		manifest.Layers = append(manifest.Layers, d)
		return err
	}
	for n := to - from; n < m.layers; n++ {
		popular := random.Float64()
		b := layer(int(popular * popular * float64(m.base())))
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := add(d, nil); err != nil {
			return err
		}
	}
	for l := from; l < to; l++ {
		if err := add(m.blob(ctx, l)); err != nil {
			return err
		}
	}
	config, err := json.Marshal(ocispec.Image{Author: fmt.Sprint("image ", i), Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		return err
	}
	if err := add(m.put(ctx, ocispec.MediaTypeImageConfig, config)); err != nil {
		return err
	}
	last := len(manifest.Layers) - 1
	manifest.Config, manifest.Layers = manifest.Layers[last], manifest.Layers[:last]
	b, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	m.made.blobs.Add(1)
	_, err = m.images.Put(ctx, repo, images.PutOptions{Bytes: b, Tags: []reference.Tag{reference.Tag(fmt.Sprint("v", i))}})
	return err
}

// loose makes a blob that a repository holds and no image names.
func (m *maker) loose(ctx context.Context, i int) error {
	d, err := m.blob(ctx, m.used()+i)
	if err == nil {
		m.made.links.Add(1)
		err = m.store.LinkBlob(ctx, repoName(i%m.repos()), d.Digest, time.Time{})
	}
	return err
}
