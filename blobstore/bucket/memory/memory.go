// Package memory is a bucket in the memory of one process: for tests, for
// simulation, and for trying Lamina out (bucket URL "memory:").
//
// It keeps the whole contract, the optional parts too, and is as strict as the
// strictest S3 server: small parts are refused, an ETag is a hash of the bytes
// (so the same bytes written twice have the same ETag), a write after its
// NotAfter is refused. It starts no goroutine and asks only [Options.Now] for
// the time, so a simulation with its own clock and scheduler can run on it.
package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Options are the limits of a Bucket. The zero value is as S3 is.
type Options struct {
	// Now is the bucket's clock; nil means time.Now.
	Now func() time.Time
	// MinPart is the smallest part but the last, in bytes; 0 means 5 MiB.
	MinPart int64
	// Capacity is how many bytes objects and parts may have together before
	// writes fail with bucket.ErrFull; 0 means no limit.
	Capacity int64
}

// A Bucket keeps its objects in memory. It must be made by New.
type Bucket struct {
	opts Options

	mu      sync.Mutex
	keys    []string // of objects, sorted
	objects map[string]object
	uploads map[string]*upload // by id
	lastID  int
	used    int64 // bytes in objects and parts
}

// An object's data is never changed, only replaced: readers hold on to it.
type object struct {
	data     []byte
	etag     bucket.ETag
	modified time.Time
}

func (o object) info(key string) bucket.Info {
	return bucket.Info{Key: key, Size: int64(len(o.data)), ETag: o.etag, Modified: o.modified}
}

var (
	_ bucket.Bucket             = (*Bucket)(nil)
	_ bucket.ConditionalDeleter = (*Bucket)(nil)
)

// New returns an empty bucket.
func New(opts Options) *Bucket {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MinPart == 0 {
		opts.MinPart = 5 << 20
	}
	return &Bucket{opts: opts, objects: map[string]object{}, uploads: map[string]*upload{}}
}

// Features implements bucket.Bucket.
func (b *Bucket) Features() bucket.Features {
	return bucket.Features{MinPart: b.opts.MinPart, MaxParts: 10_000, RefusesLateWrites: true}
}

// Clock implements bucket.Bucket.
func (b *Bucket) Clock(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, fmt.Errorf("clock: %w", err)
	}
	return b.opts.Now().Truncate(time.Second), nil
}

// String implements bucket.Bucket.
func (b *Bucket) String() string { return "memory:" }

// check is what every call on a key begins with.
func check(ctx context.Context, op, key string) error {
	if err := bucket.CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(op, key, err)
	}
	return nil
}

func fail(op, key string, err error) error {
	return fmt.Errorf("%s %s: %w", op, key, err)
}

func hash(data []byte) bucket.ETag {
	sum := sha256.Sum256(data)
	return bucket.ETag(hex.EncodeToString(sum[:16]))
}
