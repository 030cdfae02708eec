package observe

import (
	"context"
	"io"
	"iter"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// CreateMultipart implements bucket.Multiparter.
func (b *observed) CreateMultipart(ctx context.Context, key string) (string, error) {
	ctx, end := b.begin(ctx, Create, 0, key)
	id, err := b.Bucket.CreateMultipart(ctx, key)
	end(err)
	return id, err
}

// PutPart implements bucket.Multiparter.
func (b *observed) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	ctx, end := b.begin(ctx, Part, size, key)
	p, err := b.Bucket.PutPart(ctx, key, id, n, r, size)
	end(err)
	return p, err
}

// CompleteMultipart implements bucket.Multiparter.
func (b *observed) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	ctx, end := b.begin(ctx, Complete, 0, key)
	info, err := b.Bucket.CompleteMultipart(ctx, key, id, parts, cond)
	end(err)
	return info, err
}

// AbortMultipart implements bucket.Multiparter.
func (b *observed) AbortMultipart(ctx context.Context, key, id string) error {
	ctx, end := b.begin(ctx, Abort, 0, key)
	err := b.Bucket.AbortMultipart(ctx, key, id)
	end(err)
	return err
}

// ListMultiparts implements bucket.Multiparter.
func (b *observed) ListMultiparts(ctx context.Context, key string) iter.Seq2[bucket.MultipartInfo, error] {
	return func(yield func(bucket.MultipartInfo, error) bool) {
		p := page{to: b.to, kind: Uploads, key: key}
		ctx := p.begin(ctx)
		inPages(ctx, &p, b.Bucket.ListMultiparts(ctx, key), yield)
	}
}
