package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A turned clock stands still until it is turned.
type turned struct {
	mu  sync.Mutex
	now time.Time
}

func (c *turned) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *turned) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Sleep turns the clock.
func (c *turned) Sleep(ctx context.Context, d time.Duration) error {
	c.turn(d)
	return ctx.Err()
}

const pulled = reference.Repository("demo/app")

// measurePulls counts the calls of pulls, with promises that are young and with
// ones that must be renewed, on a server that has just started and on one that
// served the image before.
func measurePulls(ctx context.Context) error {
	clock := &turned{now: time.Now()}
	b := count.New(memory.New(memory.Options{Now: clock.Now}))
	server := func() (*blobstore.Store, *images.Images) {
		quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
		s := blobstore.New(b, blobstore.Options{Clock: clock, Logger: quiet})
		return s, images.New(s, nil, images.Options{Logger: quiet})
	}
	s, im := server()
	if err := pushImage(ctx, s, im); err != nil {
		return err
	}
	stores := []*blobstore.Store{s}
	var rows []pullRow
	for _, c := range []struct {
		name  string
		anew  bool
		later time.Duration
	}{
		{"a server that has just started; promises are young", true, time.Hour},
		{"the same again, a minute later", false, time.Minute},
		{"an hour later: records are not relied on any more", false, time.Hour},
		{"a server that has just started; promises must be renewed", true, 30 * time.Hour},
		{"the same again, a minute later", false, time.Minute},
		{"the same, a day later: promises must be renewed", false, 24 * time.Hour},
	} {
		clock.turn(c.later)
		if c.anew {
			s, im = server()
			stores = append(stores, s)
		}
		b.Reset()
		if err := pull(ctx, s, im); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, pullRow{c.name, b.Snapshot()})
	}
	printPulls(rows)
	var errs []error
	for _, s := range stores {
		errs = append(errs, s.Close(ctx))
	}
	return errors.Join(errs...)
}

func pushImage(ctx context.Context, s *blobstore.Store, im *images.Images) error {
	put := func(mediaType string, b []byte) (ocispec.Descriptor, error) {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		_, err := s.Put(ctx, pulled, d.Digest, d.Size, bytes.NewReader(b))
		return d, err
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i := range 5 {
		b := make([]byte, 100_000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		d, err := put(ocispec.MediaTypeImageLayerGzip, b)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, d)
	}
	var err error
	if m.Config, err = put(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64"}`)); err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = im.Put(ctx, pulled, images.PutOptions{Bytes: b, Tags: []reference.Tag{"1"}})
	return err
}

// pull reads the manifest by its tag, and then all that it names.
func pull(ctx context.Context, s *blobstore.Store, im *images.Images) error {
	m, err := im.Get(ctx, pulled, reference.Locator{Tag: "1"})
	if err != nil {
		return err
	}
	names, err := images.ParseNames(m.MediaType, m.Bytes)
	if err != nil {
		return err
	}
	for _, d := range append([]images.Descriptor{*names.Config}, names.Layers...) {
		r, err := s.Open(ctx, pulled, d.Digest, 0, -1)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
