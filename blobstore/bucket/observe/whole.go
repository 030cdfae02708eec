package observe

import (
	"context"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// whole returns b with the optional contracts that the bucket inside keeps. They
// are found by type assertion, so b must not have a method that does nothing.
func whole(b *observed) bucket.Bucket {
	sp, spools := b.Bucket.(bucket.Spooler)
	if !spools {
		return remote(b)
	}
	d, deletes := b.Bucket.(bucket.ConditionalDeleter)
	p, presigns := b.Bucket.(bucket.Presigner)
	s := spooler{b, sp}
	switch {
	case deletes && presigns:
		return struct {
			*observed
			spooler
			deleter
			bucket.Presigner
		}{b, s, deleter{b, d}, p}
	case deletes:
		return struct {
			*observed
			spooler
			deleter
		}{b, s, deleter{b, d}}
	case presigns:
		return struct {
			*observed
			spooler
			bucket.Presigner
		}{b, s, p}
	}
	return struct {
		*observed
		spooler
	}{b, s}
}

// remote is whole for a bucket that is no bucket.Spooler.
func remote(b *observed) bucket.Bucket {
	d, deletes := b.Bucket.(bucket.ConditionalDeleter)
	p, presigns := b.Bucket.(bucket.Presigner)
	switch {
	case deletes && presigns:
		return struct {
			*observed
			deleter
			bucket.Presigner
		}{b, deleter{b, d}, p}
	case deletes:
		return struct {
			*observed
			deleter
		}{b, deleter{b, d}}
	case presigns:
		return struct {
			*observed
			bucket.Presigner
		}{b, p}
	}
	return b
}

type deleter struct {
	by     *observed
	inside bucket.ConditionalDeleter
}

// DeleteIf implements bucket.ConditionalDeleter.
func (d deleter) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	ctx, end := d.by.begin(ctx, DeleteIf, 0, key)
	err := d.inside.DeleteIf(ctx, key, etag)
	end(err)
	return err
}
