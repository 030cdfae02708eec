package count

import (
	"context"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Whole returns b with those of the optional contracts bucket.ConditionalDeleter
// and bucket.Presigner that the bucket inside keeps. A conditional delete counts
// as a delete; presigning is no call.
func (b *Bucket) Whole() bucket.Bucket {
	d, deletes := b.Bucket.(bucket.ConditionalDeleter)
	p, presigns := b.Bucket.(bucket.Presigner)
	switch {
	case deletes && presigns:
		return struct {
			*Bucket
			deleter
			bucket.Presigner
		}{b, deleter{b, d}, p}
	case deletes:
		return struct {
			*Bucket
			deleter
		}{b, deleter{b, d}}
	case presigns:
		return struct {
			*Bucket
			bucket.Presigner
		}{b, p}
	}
	return b
}

type deleter struct {
	counter *Bucket
	inside  bucket.ConditionalDeleter
}

func (d deleter) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	d.counter.count(&d.counter.calls.Delete, "delete-if", key)
	return d.inside.DeleteIf(ctx, key, etag)
}
