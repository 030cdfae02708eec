package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A call is one call to the bucket that waits at the gate.
type call struct {
	process  *Process
	op       string
	keys     []string // of a list: its prefix, and the key after which it goes on
	name     string   // of the first key, the same in every run (World.canonical)
	write    bool
	number   int // in the order of arrival
	stalled  time.Time
	repeated bool      // it has happened once already
	reading  time.Time // when the read began of which it is part
	cycle    int       // the step at which the collector's cycle began
	run      func() (any, error)
	answer   chan answer
	over     bool // answered
}

type answer struct {
	value any
	err   error
}

// bare says whether the key has no random name in it, which gets another one when
// all is quiet: which of two processes comes first with one is left to chance.
func (c *call) bare() bool {
	return !strings.HasPrefix(c.keys[0], "data/") && !strings.HasPrefix(c.keys[0], "uploads/")
}

func (c *call) String() string { return fmt.Sprintf("%s %s %s", c.process.Name, c.op, c.name) }

// conflicts says whether the order of two calls can matter to anyone.
func (c *call) conflicts(o *call) bool {
	if !c.write && !o.write {
		return false
	}
	for _, a := range c.keys {
		for _, b := range o.keys {
			if a == b || c.op == "list" && strings.HasPrefix(b, a) || o.op == "list" && strings.HasPrefix(a, b) {
				return true
			}
		}
	}
	return false
}

// errCut is what a caller sees of a call that did not come back.
var errCut = fmt.Errorf("the schedule says: %w", bucket.ErrUnavailable)

// pass brings one call to the gate and returns what the controller makes of it.
func pass[T any](ctx context.Context, p *Process, op string, keys []string, write bool, do func() (T, error)) (T, error) {
	var none T
	w := p.world
	w.mu.Lock()
	if err := ctx.Err(); err != nil {
		w.mu.Unlock()
		return none, fmt.Errorf("%s %s: %w", op, keys[0], err)
	}
	if p.dead {
		w.mu.Unlock()
		return none, errCut
	}
	w.arrived++
	reading, _ := ctx.Value(readingKey{}).(time.Time)
	var cycle int
	if began, ok := ctx.Value(cycleKey{}).(*int); ok {
		cycle = *began
	}
	c := &call{
		process: p, op: op, keys: keys, write: write, number: w.arrived,
		run: func() (any, error) { return do() }, answer: make(chan answer, 1), reading: reading, cycle: cycle,
	}
	if c.bare() {
		c.name = w.canonical(keys[0])
	}
	if w.open || p.free || w.passesAtOnce(keys[0]) {
		w.mu.Unlock()
		v, err := w.effect(c)
		got, _ := v.(T)
		return got, err
	}
	w.pending = append(w.pending, c)
	w.mu.Unlock()
	var a answer
	select {
	case a = <-c.answer:
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		if !c.over {
			w.leave(c)
			return none, fmt.Errorf("%s %s: %w", op, keys[0], ctx.Err())
		}
		a = <-c.answer
	}
	v, _ := a.value.(T)
	return v, a.err
}

// What a context knows of the operation: when a read, or a collector's cycle,
// began.
type (
	readingKey struct{}
	cycleKey   struct{}
)

// A gated is the bucket as one process sees it: every call waits until the
// controller lets it through.
type gated struct {
	bucket.Bucket
	process *Process
}

var _ bucket.ConditionalDeleter = (*gated)(nil)

// Features implements bucket.Bucket.
func (b *gated) Features() bucket.Features {
	f := b.Bucket.Features()
	f.RefusesLateWrites = !b.process.world.config.Patient
	return f
}

type object struct {
	reader io.ReadCloser
	info   bucket.Info
}

// Get implements bucket.Reader.
func (b *gated) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	o, err := pass(ctx, b.process, "get", []string{key}, false, func() (object, error) {
		r, info, err := b.Bucket.Get(context.Background(), key, off, n)
		return object{r, info}, err
	})
	return o.reader, o.info, err
}

// Stat implements bucket.Reader.
func (b *gated) Stat(ctx context.Context, key string) (bucket.Info, error) {
	return pass(ctx, b.process, "stat", []string{key}, false, func() (bucket.Info, error) {
		return b.Bucket.Stat(context.Background(), key)
	})
}

// Put implements bucket.Writer.
func (b *gated) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	data, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return bucket.Info{}, err
	}
	if b.process.world.config.Patient {
		cond.NotAfter = time.Time{}
	}
	return pass(ctx, b.process, "put", []string{key}, true, func() (bucket.Info, error) {
		return b.Bucket.Put(context.Background(), key, bytes.NewReader(data), size, cond)
	})
}

// Delete implements bucket.Deleter.
func (b *gated) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := pass(ctx, b.process, "delete", keys, true, func() (struct{}, error) {
		return struct{}{}, b.Bucket.Delete(context.Background(), keys...)
	})
	return err
}

// DeleteIf implements bucket.ConditionalDeleter.
func (b *gated) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	_, err := pass(ctx, b.process, "delete-if", []string{key}, true, func() (struct{}, error) {
		return struct{}{}, b.Bucket.(bucket.ConditionalDeleter).DeleteIf(context.Background(), key, etag)
	})
	return err
}

// List implements bucket.Lister. A page is one step; where World.page says so
// it has one key, so that others come between any two.
func (b *gated) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		size := b.process.world.page(prefix)
		for after := startAfter; ; {
			keys := []string{prefix}
			if after != "" {
				keys = append(keys, after)
			}
			page, err := pass(ctx, b.process, "list", keys, false, func() ([]bucket.Info, error) {
				var page []bucket.Info
				for info, err := range b.Bucket.List(context.Background(), prefix, after) {
					if err != nil {
						return nil, err
					}
					if page = append(page, info); len(page) == size {
						break
					}
				}
				return page, nil
			})
			if err != nil {
				yield(bucket.Info{}, err)
				return
			}
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

// CreateMultipart implements bucket.Multiparter.
func (b *gated) CreateMultipart(ctx context.Context, key string) (string, error) {
	return pass(ctx, b.process, "create-parts", []string{key}, true, func() (string, error) {
		return b.Bucket.CreateMultipart(context.Background(), key)
	})
}

// PutPart implements bucket.Multiparter.
func (b *gated) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	data, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return bucket.Part{}, err
	}
	return pass(ctx, b.process, fmt.Sprintf("put-part-%d", n), []string{key}, true, func() (bucket.Part, error) {
		return b.Bucket.PutPart(context.Background(), key, id, n, bytes.NewReader(data), size)
	})
}

// CompleteMultipart implements bucket.Multiparter.
func (b *gated) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	return pass(ctx, b.process, "complete-parts", []string{key}, true, func() (bucket.Info, error) {
		return b.Bucket.CompleteMultipart(context.Background(), key, id, parts, cond)
	})
}

// AbortMultipart implements bucket.Multiparter.
func (b *gated) AbortMultipart(ctx context.Context, key, id string) error {
	_, err := pass(ctx, b.process, "abort-parts", []string{key}, true, func() (struct{}, error) {
		return struct{}{}, b.Bucket.AbortMultipart(context.Background(), key, id)
	})
	return err
}

// cut says whether an operation ended without telling what became of it.
func cut(err error) bool {
	return errors.Is(err, bucket.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
