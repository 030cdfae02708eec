package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// putPresigned writes to a URL that expires when NotAfter does. The bucket
// looks at the time when the headers have arrived, and waits some seconds at
// most for the rest; a record goes out in one piece with them.
func (b *Bucket) putPresigned(ctx context.Context, key string, in io.Reader, size int64, sum string, cond bucket.Condition, reply *reply) (bucket.ETag, error) {
	header := http.Header{checksumHeader: {sum}}
	if cond.IfAbsent {
		header.Set("If-None-Match", "*")
	}
	if cond.IfMatch != "" {
		header.Set("If-Match", `"`+string(cond.IfMatch)+`"`)
	}
	u, expires, err := b.presign(ctx, http.MethodPut, key, header, cond.NotAfter)
	if err != nil {
		return "", err
	}
	return b.sendPut(ctx, u, header, in, size, expires, reply)
}

// sendPut writes to a presigned URL.
func (b *Bucket) sendPut(ctx context.Context, u *url.URL, header http.Header, in io.Reader, size int64, expires time.Time, reply *reply) (bucket.ETag, error) {
	answer, err := b.send(ctx, http.MethodPut, u, header, in, size)
	var resp minio.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusForbidden && !reply.date.Before(expires) {
		return "", fmt.Errorf("%w of %s: it is %s there", bucket.ErrTooLate, expires, reply.date)
	}
	return trimQuotes(answer.Get("ETag")), err
}

// PrepareLate implements bucket.LateWriter.
func (b *Bucket) PrepareLate(ctx context.Context, key string, data []byte, notAfter time.Time) (func(context.Context) error, error) {
	in, size := bytes.NewReader(data), int64(len(data))
	sum, err := checksum(ctx, in, size)
	if err != nil {
		return nil, b.fail("put", key, err)
	}
	header := http.Header{checksumHeader: {sum}}
	u, expires, err := b.presign(ctx, http.MethodPut, key, header, notAfter)
	if err != nil {
		return nil, b.fail("put", key, err)
	}
	return func(ctx context.Context) error {
		return b.do(ctx, "put", key, func(ctx context.Context, reply *reply) error {
			_, err := b.sendPut(ctx, u, header, in, size, expires, reply)
			return err
		})
	}, nil
}

const (
	maxExpiry  = 7 * 24 * time.Hour
	amzDate    = "20060102T150405Z"
	presignTry = 3
)

// presign returns a URL that is good for one call with these headers, until
// notAfter and not a second longer.
func (b *Bucket) presign(ctx context.Context, method, key string, header http.Header, notAfter time.Time) (*url.URL, time.Time, error) {
	for range presignTry {
		// Whole seconds from the one that is under way; see below.
		left := min(notAfter.Sub(time.Now().Truncate(time.Second)).Truncate(time.Second), maxExpiry)
		if left < time.Second {
			return nil, time.Time{}, fmt.Errorf("%w of %s", bucket.ErrTooLate, notAfter.UTC())
		}
		u, err := b.core.PresignHeader(ctx, method, b.name, b.prefix+key, left, nil, header)
		if err != nil {
			return nil, time.Time{}, err
		}
		signed, err := time.Parse(amzDate, u.Query().Get("X-Amz-Date"))
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("presigned URL: %w", err)
		}
		// The second may have ended before the library looked at the clock.
		if expires := signed.Add(left); !expires.After(notAfter) {
			return u, expires, nil
		}
	}
	return nil, time.Time{}, fmt.Errorf("%w: this host is too slow to sign a URL within a second", bucket.ErrUnavailable)
}

// send makes a call to a presigned URL.
func (b *Bucket) send(ctx context.Context, method string, u *url.URL, header http.Header, in io.Reader, size int64) (http.Header, error) {
	body := io.NopCloser(in)
	if size == 0 {
		body = http.NoBody
	}
	if seeker, ok := in.(io.Seeker); ok {
		if _, err := seeker.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := b.http.Do(req)
	if err != nil {
		var withURL *url.Error // its signature is nobody's business
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp.Header, nil
	}
	failure := minio.ErrorResponse{}
	if xml.Unmarshal(said, &failure) != nil || failure.Code == "" {
		failure.Code = codes[resp.StatusCode]
	}
	failure.StatusCode = resp.StatusCode
	return nil, failure
}

// codes are for answers without a body.
var codes = map[int]string{
	http.StatusNotFound:           "NoSuchKey",
	http.StatusForbidden:          "AccessDenied",
	http.StatusPreconditionFailed: "PreconditionFailed",
}

func trimQuotes(etag string) bucket.ETag {
	if n := len(etag); n >= 2 && etag[0] == '"' && etag[n-1] == '"' {
		etag = etag[1 : n-1]
	}
	return bucket.ETag(etag)
}
