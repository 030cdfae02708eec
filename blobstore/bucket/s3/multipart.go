package s3

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// CreateMultipart implements bucket.Multiparter.
func (b *Bucket) CreateMultipart(ctx context.Context, key string) (id string, err error) {
	if err := check("create upload", key); err != nil {
		return "", err
	}
	err = b.do(ctx, "create upload", key, func(ctx context.Context, _ *reply) error {
		id, err = b.core.NewMultipartUpload(ctx, b.name, b.prefix+key, minio.PutObjectOptions{
			// Says that the parts will have checksums of this kind.
			UserMetadata: map[string]string{"X-Amz-Checksum-Algorithm": "CRC32C"},
		})
		return err
	})
	return id, err
}

// PutPart implements bucket.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := check("put part", key); err != nil {
		return bucket.Part{}, err
	}
	if most := b.Features().MaxParts; n < 1 || n > most {
		return bucket.Part{}, b.fail("put part", key, fmt.Errorf("%w: number %d, allowed are 1 to %d", bucket.ErrPart, n, most))
	}
	sum, err := checksum(ctx, r, size)
	if err != nil {
		return bucket.Part{}, b.fail("put part", key, err)
	}
	part := bucket.Part{Number: n, Size: size, Check: sum}
	err = b.do(ctx, "put part", key, func(ctx context.Context, _ *reply) error {
		in := &input{r: r}
		up, err := b.core.PutObjectPart(ctx, b.name, b.prefix+key, id, n, in, size, minio.PutObjectPartOptions{
			DisableContentSha256: true,
			CustomHeader:         http.Header{checksumHeader: {sum}},
		})
		part.ETag = bucket.ETag(up.ETag)
		return in.blame(err)
	})
	if err != nil {
		return bucket.Part{}, err
	}
	return part, nil
}

// CompleteMultipart implements bucket.Multiparter.
func (b *Bucket) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	if err := check("complete upload", key); err != nil {
		return bucket.Info{}, err
	}
	info := bucket.Info{Key: key}
	list := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		// Servers differ in what they say of this.
		if i > 0 && p.Number <= parts[i-1].Number {
			return bucket.Info{}, b.fail("complete upload", key, fmt.Errorf("%w: number %d does not follow %d", bucket.ErrPart, p.Number, parts[i-1].Number))
		}
		list[i] = minio.CompletePart{PartNumber: p.Number, ETag: string(p.ETag), ChecksumCRC32C: p.Check}
		info.Size += p.Size
	}
	if len(parts) == 0 {
		return bucket.Info{}, b.fail("complete upload", key, fmt.Errorf("%w: none is named", bucket.ErrPart))
	}
	err := b.do(ctx, "complete upload", key, func(ctx context.Context, reply *reply) error {
		up, err := b.core.CompleteMultipartUpload(ctx, b.name, b.prefix+key, id, list, options(cond))
		info.ETag, info.Modified = bucket.ETag(up.ETag), reply.date
		return absentIsMismatch(err, cond)
	})
	if err != nil {
		return bucket.Info{}, err
	}
	return info, nil
}

// AbortMultipart implements bucket.Multiparter.
func (b *Bucket) AbortMultipart(ctx context.Context, key, id string) error {
	if err := check("abort upload", key); err != nil {
		return err
	}
	return b.do(ctx, "abort upload", key, func(ctx context.Context, _ *reply) error {
		err := b.core.AbortMultipartUpload(ctx, b.name, b.prefix+key, id)
		if minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			return nil
		}
		return err
	})
}

// ListMultiparts implements bucket.Multiparter. Some servers (MinIO) list by the
// prefix only the uploads of that very key, others those of longer keys too.
func (b *Bucket) ListMultiparts(ctx context.Context, key string) iter.Seq2[bucket.MultipartInfo, error] {
	return func(yield func(bucket.MultipartInfo, error) bool) {
		if err := check("list uploads", key); err != nil {
			yield(bucket.MultipartInfo{}, err)
			return
		}
		keyMarker, idMarker := "", ""
		for {
			var page minio.ListMultipartUploadsResult
			err := b.do(ctx, "list uploads", key, func(ctx context.Context, _ *reply) (err error) {
				page, err = b.core.ListMultipartUploads(ctx, b.name, b.prefix+key, keyMarker, idMarker, "", 1000)
				return err
			})
			if err != nil {
				yield(bucket.MultipartInfo{}, err)
				return
			}
			for _, up := range page.Uploads {
				if up.Key == b.prefix+key && !yield(bucket.MultipartInfo{ID: up.UploadID, Started: up.Initiated.UTC()}, nil) {
					return
				}
			}
			// The uploads of this key come before those of longer ones.
			if !page.IsTruncated || page.NextKeyMarker > b.prefix+key || page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker {
				return
			}
			keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
		}
	}
}
