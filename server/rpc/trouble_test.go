package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// gone is a bucket that can be switched off.
type gone struct {
	*memory.Bucket
	mu  sync.Mutex
	off bool
}

func (g *gone) set(off bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.off = off
}

func (g *gone) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.off {
		return fmt.Errorf("test: %w", bucket.ErrUnavailable)
	}
	return nil
}

func (g *gone) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := g.check(); err != nil {
		return bucket.Part{}, err
	}
	return g.Bucket.PutPart(ctx, key, id, n, r, size)
}

func (g *gone) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if err := g.check(); err != nil {
		return bucket.Info{}, err
	}
	return g.Bucket.Put(ctx, key, r, size, cond)
}

// The bucket goes away in the middle of an upload: the client is told to try
// again, nothing can be seen, and when the bucket is back the upload goes on.
func TestBucketGoneInTheMiddle(t *testing.T) {
	b := &gone{Bucket: memory.New(memory.Options{})}
	p := pushTo(t, start(t, b).Conn)
	data := randomBytes(1, 30<<20)
	d := digest.FromBytes(data).String()
	up := p.park(&pb.BlobsWriteRequest{Digest: d}, data[:9<<20])

	b.set(true)
	_, err := p.write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data)
	refused(t, err, codes.Unavailable, "BUCKET_UNAVAILABLE")
	if detailOf[*errdetails.RetryInfo](err) == nil {
		t.Error("nobody says when to try again")
	}
	p.mustBeUnknown(d)

	b.set(false)
	last, err := p.write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data)
	if err != nil || last.Blob.GetDigest() != d {
		t.Fatalf("%v %v", last, err)
	}
	p.mustRead(d, data)
}

// inFlight counts the bytes that are on their way into the bucket at once.
type inFlight struct {
	*memory.Bucket
	mu        sync.Mutex
	now, most int64
}

func (f *inFlight) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	f.mu.Lock()
	f.now += size
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now -= size
		f.mu.Unlock()
	}()
	return f.Bucket.PutPart(ctx, key, id, n, r, size)
}

// However many uploads there are, their parts in memory are bounded.
func TestPartsInMemoryAreBounded(t *testing.T) {
	b := &inFlight{Bucket: memory.New(memory.Options{})}
	cfg := server.Config{}
	cfg.Store.PartBuffers = 3
	cfg.Store.PartSize = 5 << 20
	s := servertest.Start(t, servertest.Options{Bucket: b, Config: cfg})
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			data := randomBytes(uint64(i), 16<<20)
			p := pushTo(t, s.Conn)
			stream, err := p.client.Write(t.Context())
			if err == nil {
				err = stream.Send(&pb.BlobsWriteRequest{Repository: p.repo, Digest: digest.FromBytes(data).String()})
			}
			if err == nil {
				err = send(stream, 0, data, &pb.BlobsWriteRequest{})
			}
			for answer := new(pb.BlobsWriteResponse); err == nil && answer.Blob == nil; {
				answer, err = stream.Recv()
			}
			if err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	g.Wait()
	if limit := int64(3 * 5 << 20); b.most > limit || b.most == 0 {
		t.Errorf("%d bytes of parts at once, allowed are %d", b.most, limit)
	}
}
