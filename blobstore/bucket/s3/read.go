package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Get implements bucket.Reader. It is one call, but for empty ranges.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if err := check("get", key); err != nil {
		return nil, bucket.Info{}, err
	}
	if off < 0 {
		return nil, bucket.Info{}, b.fail("get", key, fmt.Errorf("%w: offset %d", bucket.ErrRange, off))
	}
	if n == 0 {
		return b.getNothing(ctx, key, off)
	}
	var r io.ReadCloser
	var info bucket.Info
	err := b.do(ctx, "get", key, func(ctx context.Context, _ *reply) (err error) {
		r, info, err = b.get(ctx, key, off, n)
		return err
	})
	if errors.Is(err, bucket.ErrRange) {
		// HTTP has no range that begins at the end: that is an empty read.
		return b.getNothing(ctx, key, off)
	}
	return r, info, err
}

func (b *Bucket) get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	var opts minio.GetObjectOptions
	ranged := off > 0 || n > 0
	switch {
	case n > 0 && off+n > off: // does not overflow
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case ranged:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", off))
	}
	until, cancel := context.WithCancelCause(ctx)
	body, object, header, err := b.core.GetObject(until, b.name, b.prefix+key, opts)
	if err != nil {
		cancel(nil)
		return nil, bucket.Info{}, err
	}
	info := b.info(object)
	info.Key = key
	length := object.Size
	if ranged {
		if info.Size, err = wholeSize(header, off); err != nil {
			_ = body.Close()
			cancel(nil)
			return nil, bucket.Info{}, err
		}
		if length = info.Size - off; n > 0 {
			length = min(length, n)
		}
	}
	if length < 0 {
		_ = body.Close()
		cancel(nil)
		return nil, bucket.Info{}, fmt.Errorf("%w: its answer does not say how many bytes it has", bucket.ErrUnavailable)
	}
	return newReader(b, key, ctx, until, cancel, body, length), info, nil
}

// wholeSize returns the size of the object of which an answer holds a range.
func wholeSize(header http.Header, off int64) (int64, error) {
	said := header.Get("Content-Range")
	from, size, _ := strings.Cut(strings.TrimPrefix(said, "bytes "), "/")
	from, _, _ = strings.Cut(from, "-")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || from != strconv.FormatInt(off, 10) {
		return 0, fmt.Errorf("%w: asked for bytes from %d, it answered with Content-Range %q", bucket.ErrUnavailable, off, said)
	}
	return n, nil
}

// getNothing opens an empty range at off.
func (b *Bucket) getNothing(ctx context.Context, key string, off int64) (io.ReadCloser, bucket.Info, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, bucket.Info{}, err
	}
	if off > info.Size {
		return nil, bucket.Info{}, b.fail("get", key, fmt.Errorf("%w: offset %d, size %d", bucket.ErrRange, off, info.Size))
	}
	return http.NoBody, info, nil
}

// A reader reads what was promised, or fails.
type reader struct {
	b      *Bucket
	key    string
	ctx    context.Context // of the call that opened it
	until  context.Context // the request's: it ends with ctx, by cancel or when the bucket stalls
	cancel context.CancelCauseFunc
	watch  *time.Timer // runs during a Read
	body   io.ReadCloser
	left   int64
}

// errStalled is why a read was given up although nobody has ended it.
var errStalled = errors.New("it sends nothing any more")

func newReader(b *Bucket, key string, ctx, until context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, length int64) *reader {
	r := &reader{b: b, key: key, ctx: ctx, until: until, cancel: cancel, body: body, left: length}
	r.watch = time.AfterFunc(b.stall, func() { cancel(errStalled) })
	r.watch.Stop()
	return r
}

// read is Read of the body that ends when nothing comes for too long: a connection
// whose other end is there and sends nothing is noticed by no one else.
func (r *reader) read(p []byte) (int, error) {
	r.watch.Reset(r.b.stall)
	n, err := r.body.Read(p)
	r.watch.Stop()
	if err != nil && err != io.EOF && context.Cause(r.until) == errStalled {
		err = errStalled
	}
	return n, err
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.read(p[:min(int64(len(p)), r.left)])
	if r.left -= int64(n); r.left == 0 {
		return n, nil
	}
	if err == nil {
		return n, nil
	}
	if ended := r.ctx.Err(); ended != nil {
		return n, r.b.fail("read", r.key, ended)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, r.b.fail("read", r.key, fmt.Errorf("%w: %d bytes are missing: %w", bucket.ErrUnavailable, r.left, err))
}

func (r *reader) Close() error {
	if r.left == 0 {
		// Having seen the end, the connection can be used again.
		_, _ = r.read(make([]byte, 1))
	}
	err := r.body.Close()
	r.cancel(nil)
	return err
}

// Stat implements bucket.Reader. The answer to HEAD has no body: on servers
// that do not say it in a header, a bucket that is gone is one without objects.
func (b *Bucket) Stat(ctx context.Context, key string) (info bucket.Info, err error) {
	if err := check("stat", key); err != nil {
		return bucket.Info{}, err
	}
	err = b.do(ctx, "stat", key, func(ctx context.Context, _ *reply) error {
		object, err := b.core.StatObject(ctx, b.name, b.prefix+key, minio.StatObjectOptions{})
		info = b.info(object)
		info.Key = key
		return err
	})
	return info, err
}

// List implements bucket.Lister.
func (b *Bucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for _, s := range []string{prefix, startAfter} {
			if err := bucket.CheckPrefix(s); err != nil {
				yield(bucket.Info{}, fmt.Errorf("list: %w", err))
				return
			}
		}
		last, stopped := startAfter, false
		// A page that fails is asked for again, from the last key that we have.
		err := b.do(ctx, "list", prefix, func(ctx context.Context, _ *reply) error {
			opts := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true, FetchOwner: new(bool)}
			if last != "" {
				opts.StartAfter = b.prefix + last
			}
			for object := range b.core.ListObjectsIter(ctx, b.name, opts) {
				if object.Err != nil {
					return object.Err
				}
				info := b.info(object)
				if bucket.CheckKey(info.Key) != nil {
					continue // someone else's
				}
				last = info.Key
				if stopped = !yield(info, nil); stopped {
					return nil
				}
			}
			return ctx.Err() // the library just stops
		})
		if err != nil && !stopped {
			yield(bucket.Info{}, err)
		}
	}
}

func (b *Bucket) info(o minio.ObjectInfo) bucket.Info {
	return bucket.Info{
		Key:      strings.TrimPrefix(o.Key, b.prefix),
		Size:     o.Size,
		ETag:     bucket.ETag(o.ETag),
		Modified: o.LastModified.UTC(),
	}
}
