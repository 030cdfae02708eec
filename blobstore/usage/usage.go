// Package usage counts what is stored, what is shared, and by whom.
//
// A count walks from the repositories to their manifests and to what these
// name, and then through all blobs. It is a picture of a store that goes on
// changing meanwhile, not of one moment. Its result is kept in the bucket
// (stats/usage) until somebody counts again. While it runs, it keeps some 300
// bytes in memory for each distinct blob that is named.
package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Options of a Counter.
type Options struct {
	// Realms tells the realm of each repository: who shares what is counted
	// inside each.
	Realms realm.Map
	Logger *slog.Logger // slog.Default()
}

// A Counter counts, one count at a time. Safe for concurrent use.
type Counter struct {
	store  *blobstore.Store
	images *images.Images
	log    *slog.Logger
	realms realm.Map

	mu      sync.Mutex
	running *count // nil while nobody counts
}

// A count is one that runs, and its result once done is closed.
type count struct {
	done   chan struct{}
	result Usage
	err    error
}

// New returns a Counter. It holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images, o Options) *Counter {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Counter{store: s, images: im, log: o.Logger, realms: o.Realms}
}

const key = "stats/usage"

// usageRecord is what stats/usage holds.
type usageRecord struct {
	record.Header
	CountedAt    time.Time          `json:"countedAt"`
	Realms       digest.Digest      `json:"realms,omitempty"` // of the map by which it was counted
	Named        int64              `json:"named"`
	Stored       int64              `json:"stored"`
	Unnamed      int64              `json:"unnamed"`
	Blobs        int64              `json:"blobs"`
	Manifests    int64              `json:"manifests"`
	Repositories []repositoryRecord `json:"repositories,omitempty"`
	Shared       []sharedRecord     `json:"shared,omitempty"`
}

type repositoryRecord struct {
	Name      reference.Repository `json:"name"`
	Tags      int64                `json:"tags"`
	Manifests int64                `json:"manifests"`
	Named     int64                `json:"named"`
	Stored    int64                `json:"stored"`
	Own       int64                `json:"own"`
}

type sharedRecord struct {
	Digest       digest.Digest          `json:"digest"`
	Size         int64                  `json:"size"`
	Images       int64                  `json:"images"`
	Repositories []reference.Repository `json:"repositories"`
}

// Get returns the last count, or counts now when refresh is set or there is
// none, or the realms have changed since; a count reads every manifest and lists every blob. Calls that want a
// count while one runs share it. Errors: bucket.ErrUnavailable,
// blobstore.ErrCorrupt when a manifest is damaged; ctx's error.
func (c *Counter) Get(ctx context.Context, refresh bool) (Usage, error) {
	if !refresh {
		r, _, err := record.Read[usageRecord](ctx, c.store.Records(), key)
		if !errors.Is(err, bucket.ErrNotExist) && (err != nil || r.Realms == mapDigest(c.realms)) {
			return r.usage(), err
		}
	}
	return c.shared(ctx)
}

// shared counts, or waits for the count that runs. One that fails because
// whoever began it has gone away is begun again.
func (c *Counter) shared(ctx context.Context) (Usage, error) {
	for {
		c.mu.Lock()
		run := c.running
		mine := run == nil
		if mine {
			run = &count{done: make(chan struct{})}
			c.running = run
		}
		c.mu.Unlock()
		if mine {
			run.result, run.err = c.count(ctx)
			c.mu.Lock()
			c.running = nil
			c.mu.Unlock()
			close(run.done)
			return run.result, run.err
		}
		select {
		case <-run.done:
			if !errors.Is(run.err, context.Canceled) && !errors.Is(run.err, context.DeadlineExceeded) {
				return run.result, run.err
			}
		case <-ctx.Done():
			return Usage{}, ctx.Err()
		}
	}
}

// count counts, and keeps the result.
func (c *Counter) count(ctx context.Context) (Usage, error) {
	began := time.Now()
	t := newTally(c.store.Clock().Now(), c.realms)
	if err := c.walk(ctx, t); err != nil {
		return Usage{}, err
	}
	u := t.usage()
	next := recordOf(u)
	next.Realms = mapDigest(c.realms)
	_, _, err := record.Update(ctx, c.store.Records(), key, time.Time{}, func(r *usageRecord, exists bool) (bool, error) {
		if exists && r.CountedAt.After(u.CountedAt) {
			return false, nil // another server has counted since
		}
		h := r.Header
		*r = *next
		r.Header = h
		return true, nil
	})
	if err != nil {
		return Usage{}, err
	}
	c.log.Info("counted what is stored", "blobs", u.Blobs, "manifests", u.Manifests, "took", time.Since(began))
	return u, nil
}

// mapDigest names a map in a record; it is empty for the one with one realm.
func mapDigest(m realm.Map) digest.Digest {
	if s := m.String(); s != "" {
		return digest.FromString(s)
	}
	return ""
}

func recordOf(u Usage) *usageRecord {
	r := &usageRecord{
		CountedAt: u.CountedAt.UTC(), Named: u.Named, Stored: u.Stored, Unnamed: u.Unnamed,
		Blobs: u.Blobs, Manifests: u.Manifests,
	}
	for _, x := range u.Repositories {
		r.Repositories = append(r.Repositories, repositoryRecord(x))
	}
	for _, x := range u.Shared {
		r.Shared = append(r.Shared, sharedRecord(x))
	}
	return r
}

func (r *usageRecord) usage() Usage {
	u := Usage{
		CountedAt: r.CountedAt, Named: r.Named, Stored: r.Stored, Unnamed: r.Unnamed,
		Blobs: r.Blobs, Manifests: r.Manifests,
	}
	for _, x := range r.Repositories {
		u.Repositories = append(u.Repositories, Repository(x))
	}
	for _, x := range r.Shared {
		u.Shared = append(u.Shared, Shared(x))
	}
	return u
}
