// Package observe is a decorator that tells an Observer of every call that a
// bucket gets: for counting calls, measuring them, tracing them. The bucket is
// used as before; what an observer may change is a call's context alone.
package observe

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A Kind is what a call asks of the bucket.
type Kind string

// The kinds of calls, one for each method of a bucket that does I/O.
const (
	Get      Kind = "get"
	Stat     Kind = "stat"
	Put      Kind = "put"
	List     Kind = "list"
	Delete   Kind = "delete"
	DeleteIf Kind = "delete-if"
	Create   Kind = "create" // of a multipart upload
	Part     Kind = "part"
	Complete Kind = "complete"
	Abort    Kind = "abort"
	Uploads  Kind = "uploads" // a listing of the multipart uploads of a key
	Clock    Kind = "clock"
)

// PageSize is how many keys one call lists or deletes.
const PageSize = 1000

// A Call is one call, as an S3 provider would bill it, but for Delete.
type Call struct {
	Kind Kind
	// Keys is the key; with List the prefix, with Delete all keys (PageSize of
	// them are one request to the bucket), with Clock nothing. An observer must
	// not change it.
	Keys []string
	// Size is how many bytes Put and Part write.
	Size  int64
	Began time.Time
}

// Key is the key, or the keys, separated by spaces.
func (c Call) Key() string { return strings.Join(c.Keys, " ") }

// An Observer is told of calls. Its methods must be quick, and are called from
// several goroutines at once.
type Observer interface {
	// Begin is told of a call before it is made; the call is made with the
	// context that Begin returns. end is called once, when the call has
	// returned (a Get then has its reader, and a listing its next PageSize keys):
	// took is the time that the bucket took, without that of whoever goes
	// through a listing.
	Begin(ctx context.Context, c Call) (_ context.Context, end func(took time.Duration, err error))
	// Read is told, when a Get's reader is closed, how many bytes were read,
	// and what reading failed with, if it did.
	Read(n int64, err error)
}

// New returns b with o told of its calls. It keeps those of the optional
// contracts bucket.ConditionalDeleter, bucket.Presigner and bucket.Spooler that b
// keeps; presigning is no call, and of a spool what gives the bytes a name is one:
// a Put, or a Part for all parts that are made at once.
func New(b bucket.Bucket, o Observer) bucket.Bucket { return whole(&observed{b, o}) }

type observed struct {
	bucket.Bucket
	to Observer
}

// begin is to.Begin, with the clock in end.
func (b *observed) begin(ctx context.Context, kind Kind, size int64, keys ...string) (context.Context, func(error)) {
	began := time.Now()
	ctx, end := b.to.Begin(ctx, Call{Kind: kind, Keys: keys, Size: size, Began: began})
	return ctx, func(err error) { end(time.Since(began), err) }
}

// Get implements bucket.Reader.
func (b *observed) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	ctx, end := b.begin(ctx, Get, 0, key)
	r, info, err := b.Bucket.Get(ctx, key, off, n)
	end(err)
	if err != nil {
		return nil, info, err
	}
	return &reader{ReadCloser: r, to: b.to}, info, nil
}

// Stat implements bucket.Reader.
func (b *observed) Stat(ctx context.Context, key string) (bucket.Info, error) {
	ctx, end := b.begin(ctx, Stat, 0, key)
	info, err := b.Bucket.Stat(ctx, key)
	end(err)
	return info, err
}

// Put implements bucket.Writer.
func (b *observed) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	ctx, end := b.begin(ctx, Put, size, key)
	info, err := b.Bucket.Put(ctx, key, r, size, cond)
	end(err)
	return info, err
}

// List implements bucket.Lister.
func (b *observed) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		p := page{to: b.to, kind: List, key: prefix}
		ctx := p.begin(ctx)
		inPages(ctx, &p, b.Bucket.List(ctx, prefix, startAfter), yield)
	}
}

// inPages goes through a listing whose first page p is.
func inPages[T any](ctx context.Context, p *page, listing iter.Seq2[T, error], yield func(T, error) bool) {
	defer func() { p.end(p.took, p.err) }()
	resumed, n := time.Now(), 0
	for info, err := range listing {
		waited := time.Since(resumed)
		if n++; n > 1 && n%PageSize == 1 {
			p.end(p.took, nil)
			p.began = resumed
			p.begin(ctx)
		}
		p.took += waited
		p.err = err
		if !yield(info, err) {
			return
		}
		resumed = time.Now()
	}
	p.took += time.Since(resumed)
}

// A page is the call under way of a listing.
type page struct {
	to    Observer
	kind  Kind
	key   string
	began time.Time // zero: now
	took  time.Duration
	err   error
	end   func(time.Duration, error)
}

func (p *page) begin(ctx context.Context) context.Context {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.took, p.err = 0, nil
	ctx, p.end = p.to.Begin(ctx, Call{Kind: p.kind, Keys: []string{p.key}, Began: p.began})
	return ctx
}

// Delete implements bucket.Deleter.
func (b *observed) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return b.Bucket.Delete(ctx) // which asks nobody
	}
	ctx, end := b.begin(ctx, Delete, 0, keys...)
	err := b.Bucket.Delete(ctx, keys...)
	end(err)
	return err
}

// Clock implements bucket.Bucket.
func (b *observed) Clock(ctx context.Context) (time.Time, error) {
	ctx, end := b.begin(ctx, Clock, 0)
	now, err := b.Bucket.Clock(ctx)
	end(err)
	return now, err
}

// A reader counts what is read through it.
type reader struct {
	io.ReadCloser
	to     Observer
	n      int64
	err    error
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.to.Read(r.n, r.err)
	}
	return r.ReadCloser.Close()
}
