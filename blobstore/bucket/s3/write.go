package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/minio/minio-go/v7"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/internal/exact"
)

const checksumHeader = "X-Amz-Checksum-Crc32c"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum reads r through once, so that what is wrong with it is known before
// anything is sent, and returns its CRC-32C as S3 writes it.
func checksum(ctx context.Context, r io.ReadSeeker, size int64) (string, error) {
	h := crc32.New(castagnoli)
	if err := exact.Copy(ctx, h, r, size); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// Put implements bucket.Writer.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := check("put", key); err != nil {
		return bucket.Info{}, err
	}
	sum, err := checksum(ctx, r, size)
	if err != nil {
		return bucket.Info{}, b.fail("put", key, err)
	}
	info := bucket.Info{Key: key, Size: size}
	err = b.do(ctx, "put", key, func(ctx context.Context, reply *reply) error {
		in := &input{r: r}
		var err error
		if cond.NotAfter.IsZero() {
			info.ETag, err = b.putSigned(ctx, key, in, size, sum, cond)
		} else {
			info.ETag, err = b.putPresigned(ctx, key, in, size, sum, cond, reply)
		}
		info.Modified = reply.date
		return in.blame(absentIsMismatch(err, cond))
	})
	if err != nil {
		return bucket.Info{}, err
	}
	return info, nil
}

func (b *Bucket) putSigned(ctx context.Context, key string, in io.Reader, size int64, sum string, cond bucket.Condition) (bucket.ETag, error) {
	opts := options(cond)
	opts.DisableContentSha256 = true
	opts.UserMetadata = map[string]string{checksumHeader: sum}
	up, err := b.core.PutObject(ctx, b.name, b.prefix+key, in, size, "", "", opts)
	return bucket.ETag(up.ETag), err
}

// options are the headers of a condition.
func options(cond bucket.Condition) (opts minio.PutObjectOptions) {
	if cond.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	if cond.IfMatch != "" {
		opts.SetMatchETag(string(cond.IfMatch))
	}
	return opts
}

// absentIsMismatch: S3 answers NoSuchKey when there is no object to match.
func absentIsMismatch(err error, cond bucket.Condition) error {
	var resp minio.ErrorResponse
	if cond.IfMatch != "" && errors.As(err, &resp) && resp.Code == "NoSuchKey" {
		resp.Code = "PreconditionFailed"
		return resp
	}
	return err
}

// An input is what is sent. It remembers what went wrong with reading it, and
// hides from the library that the caller's reader may be closed.
type input struct {
	r   io.ReadSeeker
	err error
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

func (in *input) Seek(off int64, whence int) (int64, error) {
	n, err := in.r.Seek(off, whence)
	if err != nil {
		in.err = err
	}
	return n, err
}

// blame returns the error of the reader if there was one, else err.
func (in *input) blame(err error) error {
	if err != nil && in.err != nil {
		return errInput{fmt.Errorf("read what is to be written: %w", in.err)}
	}
	return err
}
