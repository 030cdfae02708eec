package registry_test

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server/registry"
)

// A cutBucket does not answer while it is cut off.
type cutBucket struct {
	bucket.Bucket
	cut atomic.Bool
}

func (b *cutBucket) err() error {
	if b.cut.Load() {
		return fmt.Errorf("dial secret.example: %w", bucket.ErrUnavailable)
	}
	return nil
}

func (b *cutBucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if err := b.err(); err != nil {
		return nil, bucket.Info{}, err
	}
	return b.Bucket.Get(ctx, key, off, n)
}

func (b *cutBucket) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := b.err(); err != nil {
		return bucket.Info{}, err
	}
	return b.Bucket.Stat(ctx, key)
}

func (b *cutBucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := b.err(); err != nil {
		return bucket.Info{}, err
	}
	return b.Bucket.Put(ctx, key, r, size, cond)
}

func (b *cutBucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := b.err(); err != nil {
		return bucket.Part{}, err
	}
	return b.Bucket.PutPart(ctx, key, id, n, r, size)
}

func TestTheBucketIsGoneInTheMiddleOfAnUpload(t *testing.T) {
	b := &cutBucket{Bucket: memory.New(memory.Options{})}
	s := serve(t, b)
	gone := func(a answer) {
		t.Helper()
		a.fails(503, "UNAVAILABLE", "does not answer", "try again").is(503, "Retry-After: 2")
	}
	for i, size := range []int{5000, 30 << 20} {
		data := noise(size, uint64(90+i))
		d := digest.FromBytes(data)
		loc := s.upload("demo/app")
		cut := size / 3
		s.do("PATCH", loc, data[:cut]).is(202)
		b.cut.Store(true)
		gone(s.do("PATCH", loc, data[cut:]))
		gone(s.do("PUT", query(loc, "digest", string(d)), data[cut:]))
		gone(s.do("GET", "/v2/demo/app/blobs/"+absent, nil))
		gone(s.do("GET", "/v2/demo/app/manifests/1", nil))
		gone(s.do("POST", "/v2/demo/app/blobs/uploads/", nil))
		b.cut.Store(false)

		// What had been acknowledged is there, and the upload goes on.
		at, err := strconv.Atoi(s.do("GET", loc, nil).is(204).header.Get("Upload-Offset"))
		if err != nil || at < cut {
			t.Fatalf("%d of %d bytes are left, %v", at, cut, err)
		}
		s.do("PUT", query(loc, "digest", string(d)), data[at:]).is(201)
		s.holds("demo/app", d, data)
	}
	if line := s.logged.line(t, "upload-append"); line["status"] != 202. {
		t.Errorf("%v", line)
	}
	if line := s.logged.line(t, "upload-append"); line["level"] != "ERROR" || line["status"] != 503. {
		t.Errorf("%v", line)
	}
}

// A client that stops sends neither bytes nor an end.
func TestAClientThatStopsInTheMiddle(t *testing.T) {
	inBubble(t, func(t *testing.T, http2 bool) {
		s := serveInBubble(t, http2, nil, impatient)
		b := noise(9<<20, 95)
		d := digest.FromBytes(b)
		loc := s.upload("demo/app")
		s.do("PATCH", loc, b[:5<<20]).is(202)

		r, w := io.Pipe()
		defer w.Close()
		go func() { _, _ = w.Write(b[5<<20 : 6<<20]) }()
		s.do("PATCH", loc, r).fails(408, "BLOB_UPLOAD_INVALID", "stopped sending").is(408, "Upload-Offset: "+itoa(6<<20))
		s.do("PUT", query(loc, "digest", string(d)), b[6<<20:]).is(201)
		s.holds("demo/app", d, b)
		s.do("GET", "/v2/demo/app/blobs/"+string(d), nil, "Range: bytes=5-9").is(206)
	})
}

// A slowBucket takes its time for what is large.
type slowBucket struct {
	bucket.Bucket
	each time.Duration
}

func (b slowBucket) wait(ctx context.Context) error {
	return blobstore.SystemClock{}.Sleep(ctx, b.each)
}

func (b slowBucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := b.wait(ctx); err != nil {
		return bucket.Part{}, err
	}
	return b.Bucket.PutPart(ctx, key, id, n, r, size)
}

func (b slowBucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	r, info, err := b.Bucket.Get(ctx, key, off, n)
	if err != nil || !strings.HasPrefix(key, "data/") {
		return r, info, err
	}
	return &slowReader{ReadCloser: r, b: b}, info, nil
}

// A slowReader waits at the beginning and after some bytes.
type slowReader struct {
	io.ReadCloser
	b     slowBucket
	reads int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.reads++; r.reads == 1 || r.reads == 20 {
		if err := r.b.wait(context.Background()); err != nil {
			return 0, err
		}
	}
	return r.ReadCloser.Read(p)
}

// While the server does not read, because the bucket is slow, nothing is
// expected of the client.
func TestTheTimeOfTheBucketIsNotTheClients(t *testing.T) {
	const idle = time.Second
	inBubble(t, func(t *testing.T, http2 bool) {
		s := serveInBubble(t, http2, slowBucket{memory.New(memory.Options{}), idle * 3 / 2},
			func(so *blobstore.Options, ro *registry.Options) { ro.IdleTimeout, so.PartBuffers = idle, 1 })
		b := noise(20<<20, 96)
		loc := s.upload("demo/app")
		began := time.Now()
		s.do("PATCH", loc, b).is(202)
		if took := time.Since(began); took < idle {
			t.Errorf("the bucket took %v: nothing is shown", took)
		}
		d := digest.FromBytes(b)
		s.do("PUT", query(loc, "digest", string(d)), nil).is(201)
		s.holds("demo/app", d, b)
		s.do("GET", "/v2/demo/app/blobs/"+string(d), nil, "Range: bytes=1-").is(206, "Content-Length: "+itoa(len(b)-1))
	})
}

// What was on its way to the bucket when the client went away arrives there.
func TestAClientThatGoesAwayFromASlowBucket(t *testing.T) {
	s := serve(t, slowBucket{memory.New(memory.Options{}), 100 * time.Millisecond})
	b := noise(10<<20, 97)
	const have = 9 << 20
	loc := s.upload("demo/app")
	s.dial("PATCH", loc, len(b), b[:have], "X-Request-Id: gone").Close()
	if line := s.logged.line(t, "gone"); line["status"] != 499. {
		t.Errorf("log: %v", line)
	}
	s.finish(loc, b, have)
}
