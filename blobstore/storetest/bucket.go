package storetest

import (
	"context"
	"io"
	"sync"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A Bucket passes everything on to another one, by way of a hook that a test
// sets to stop calls, lose their answers or do something in between.
type Bucket struct {
	bucket.Bucket
	mu   sync.Mutex
	hook Hook
}

// A Hook is called in place of a Put or a Get ("put", "get"), and calls pass to
// let it happen: never, once, or several times, as a client does that retries.
// What it returns is what the caller sees; an error of pass included.
type Hook func(op, key string, pass func() error) error

// Set makes hook the one for what follows; nil for none.
func (b *Bucket) Set(hook Hook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

func (b *Bucket) call(op, key string, pass func() error) error {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook == nil {
		return pass()
	}
	return hook(op, key, pass)
}

// Put implements bucket.Writer.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (info bucket.Info, err error) {
	err = b.call("put", key, func() (err error) {
		info, err = b.Bucket.Put(ctx, key, r, size, cond)
		return err
	})
	return info, err
}

// Get implements bucket.Reader.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (r io.ReadCloser, info bucket.Info, err error) {
	err = b.call("get", key, func() (err error) {
		if r != nil {
			r.Close()
		}
		r, info, err = b.Bucket.Get(ctx, key, off, n)
		return err
	})
	return r, info, err
}

// Patient is a bucket that does not refuse late writes, as some S3 servers.
type Patient struct{ bucket.Bucket }

// Features implements bucket.Bucket.
func (p Patient) Features() bucket.Features {
	f := p.Bucket.Features()
	f.RefusesLateWrites = false
	return f
}

// Put implements bucket.Writer.
func (p Patient) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	return p.Bucket.Put(ctx, key, r, size, bucket.Condition{IfAbsent: cond.IfAbsent, IfMatch: cond.IfMatch})
}
