package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// park sends data and ends the stream without finish. It returns the upload.
func (p *pusher) park(first *pb.BlobsWriteRequest, data []byte) *pb.BlobsWriteResponse {
	p.t.Helper()
	stream, answer, err := p.open(first)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := send(stream, answer.Offset, data, nil); err != nil {
		p.t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		p.t.Fatal(err)
	}
	last, err := stream.Recv()
	if err != nil || last.UploadId != answer.UploadId || last.Offset != answer.Offset+int64(len(data)) || last.Blob != nil {
		p.t.Fatalf("parked %v, %v; want offset %d", last, err, answer.Offset+int64(len(data)))
	}
	return last
}

func (p *pusher) mustRead(d string, want []byte) {
	p.t.Helper()
	if got, err := p.read(&pb.BlobsReadRequest{Digest: d}); err != nil || !bytes.Equal(got, want) {
		p.t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func (p *pusher) mustBeUnknown(d string) {
	p.t.Helper()
	_, err := p.client.Stat(p.t.Context(), &pb.BlobsStatRequest{Repository: p.repo, Digest: d})
	refused(p.t, err, codes.NotFound, "BLOB_UNKNOWN")
}

func TestParkedUploadIsResumed(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	for _, size := range []int{1 << 20, 40 << 20} {
		data := randomBytes(uint64(size), size)
		d := digest.FromBytes(data).String()
		up := p.park(&pb.BlobsWriteRequest{Digest: d, Size: int64(size)}, data[:size/3])
		up = p.park(&pb.BlobsWriteRequest{UploadId: up.UploadId}, data[size/3:size/2])
		p.mustBeUnknown(d)
		st, err := p.client.Status(t.Context(), &pb.BlobsStatusRequest{Repository: p.repo, UploadId: up.UploadId})
		if err != nil || st.Offset != int64(size/2) || st.ExpiresAt.AsTime().Sub(st.StartedAt.AsTime()) != 24*time.Hour {
			t.Errorf("status %v %v", st, err)
		}
		if last, err := p.write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data); err != nil || last.Blob.GetDigest() != d {
			t.Fatalf("%v %v", last, err)
		}
		p.mustRead(d, data)
		// Whoever asks for the upload again, because the answer got lost, is
		// told that the blob is there.
		if _, answer, err := p.open(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}); err != nil || answer.Blob.GetDigest() != d {
			t.Errorf("resumed after its end: %v %v", answer, err)
		}
		_, _, err = p.open(&pb.BlobsWriteRequest{UploadId: up.UploadId})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
	}
}

// watched calls after when a part is durable.
type watched struct {
	*memory.Bucket
	after func()
}

func (w *watched) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	p, err := w.Bucket.PutPart(ctx, key, id, n, r, size)
	if err == nil {
		w.after()
	}
	return p, err
}

func TestConnectionCutIsResumed(t *testing.T) {
	var parts sync.WaitGroup
	parts.Add(2)
	var once [2]sync.Once
	n := 0
	var mu sync.Mutex
	b := &watched{memory.New(memory.Options{}), func() {
		mu.Lock()
		defer mu.Unlock()
		if n < len(once) {
			once[n].Do(parts.Done)
			n++
		}
	}}
	s := start(t, b)
	conn := servertest.Dial(t, s.GRPC)
	data := randomBytes(1, 30<<20)
	d := digest.FromBytes(data).String()
	p := pushTo(t, conn)
	stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	if err := send(stream, 0, data[:20<<20], nil); err != nil {
		t.Fatal(err)
	}
	parts.Wait()
	conn.Close()

	p = pushTo(t, s.Conn)
	stream, again, err := p.open(&pb.BlobsWriteRequest{UploadId: answer.UploadId, Digest: d})
	if err != nil || again.Offset < 16<<20 || again.Offset > 20<<20 {
		t.Fatalf("%v %v; two parts of 8 MiB had arrived", again, err)
	}
	if err := send(stream, again.Offset, data[again.Offset:], &pb.BlobsWriteRequest{}); err != nil {
		t.Fatal(err)
	}
	if last, err := stream.Recv(); err != nil || last.Blob.GetDigest() != d {
		t.Fatalf("%v %v", last, err)
	}
	p.mustRead(d, data)
}

func TestUploadOutlivesItsServer(t *testing.T) {
	onBuckets(t, func(t *testing.T, b bucket.Bucket) {
		data := randomBytes(1, 21<<20)
		d := digest.FromBytes(data).String()
		first := start(t, b)
		up := pushTo(t, first.Conn).park(&pb.BlobsWriteRequest{}, data[:13<<20])
		first.Stop(t)

		p := pushTo(t, start(t, b).Conn)
		if last, err := p.write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data); err != nil || last.Blob.GetDigest() != d {
			t.Fatalf("%v %v", last, err)
		}
		p.mustRead(d, data)
	})
}

// A client that goes from server to server is told by each how far it came,
// also by one that had it before.
func TestUploadMovesBetweenServers(t *testing.T) {
	onBuckets(t, func(t *testing.T, b bucket.Bucket) {
		servers := []*pusher{pushTo(t, start(t, b).Conn), pushTo(t, start(t, b).Conn)}
		data := randomBytes(1, 25<<20+5)
		d := digest.FromBytes(data).String()
		up := servers[0].park(&pb.BlobsWriteRequest{Digest: d}, data[:1000])
		step := 5<<20 + 1
		for i, end := 1, 1000+step; end < len(data); i, end = i+1, end+step {
			p := servers[i%2]
			if up = p.park(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data[end-step:end]); up.Offset != int64(end) {
				t.Fatalf("offset %d, want %d", up.Offset, end)
			}
			st, err := servers[(i+1)%2].client.Status(t.Context(), &pb.BlobsStatusRequest{Repository: p.repo, UploadId: up.UploadId})
			if err != nil || st.Offset != int64(end) {
				t.Fatalf("the other server says %v %v", st, err)
			}
		}
		if last, err := servers[1].write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data); err != nil || last.Blob.GetDigest() != d {
			t.Fatalf("%v %v", last, err)
		}
		servers[0].mustRead(d, data)
	})
}

func TestTwoUploadsOfOneBlobAtOnce(t *testing.T) {
	onBuckets(t, func(t *testing.T, b bucket.Bucket) {
		a, z := start(t, b), start(t, b)
		data := randomBytes(1, 20<<20)
		d := digest.FromBytes(data).String()
		// All are under way before one ends.
		var streams []grpc.BidiStreamingClient[pb.BlobsWriteRequest, pb.BlobsWriteResponse]
		for i := range 4 {
			stream, _, err := pushTo(t, []*servertest.Server{a, z}[i%2].Conn).open(&pb.BlobsWriteRequest{Digest: d})
			if err != nil {
				t.Fatal(err)
			}
			if err := send(stream, 0, data[:9<<20], nil); err != nil {
				t.Fatal(err)
			}
			streams = append(streams, stream)
		}
		var g sync.WaitGroup
		for i, stream := range streams {
			g.Go(func() {
				if err := send(stream, 9<<20, data[9<<20:], &pb.BlobsWriteRequest{}); err != nil {
					t.Error(err)
				}
				if last, err := stream.Recv(); err != nil || last.Blob.GetDigest() != d {
					t.Errorf("upload %d: %v %v", i, last, err)
				}
			})
		}
		g.Wait()
		pushTo(t, z.Conn).mustRead(d, data)
	})
}

func TestWriteRefusals(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	data := randomBytes(1, 9<<20)
	d := digest.FromBytes(data).String()

	t.Run("another digest", func(t *testing.T) {
		stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: absent})
		if err != nil {
			t.Fatal(err)
		}
		if err := send(stream, 0, data, &pb.BlobsWriteRequest{}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if info := refused(t, err, codes.InvalidArgument, "DIGEST_MISMATCH"); info.Metadata["actual"] != d {
			t.Errorf("metadata %v", info.Metadata)
		}
		_, err = p.client.Status(t.Context(), &pb.BlobsStatusRequest{Repository: p.repo, UploadId: answer.UploadId})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
		p.mustBeUnknown(absent)
		p.mustBeUnknown(d)
	})
	t.Run("in one message", func(t *testing.T) {
		small := []byte("small")
		for _, c := range []struct {
			m      *pb.BlobsWriteRequest
			reason string
		}{
			{&pb.BlobsWriteRequest{Data: small, Digest: absent}, "DIGEST_MISMATCH"},
			{&pb.BlobsWriteRequest{Data: small, Digest: absent, Size: 4}, "SIZE_MISMATCH"},
			{&pb.BlobsWriteRequest{Data: small}, "ARGUMENT_INVALID"},
			{&pb.BlobsWriteRequest{Data: small, Digest: absent, Size: -1}, "ARGUMENT_INVALID"},
			{&pb.BlobsWriteRequest{Data: make([]byte, 1<<20+1), Digest: absent}, "ARGUMENT_INVALID"},
		} {
			c.m.Finish = true
			_, _, err := p.open(c.m)
			refused(t, err, codes.InvalidArgument, c.reason)
		}
		_, _, err := p.open(&pb.BlobsWriteRequest{Data: small, Digest: absent, Offset: 1, Finish: true})
		refused(t, err, codes.OutOfRange, "UPLOAD_OFFSET")
		p.mustBeUnknown(absent)
	})
	t.Run("wrong length", func(t *testing.T) {
		for _, size := range []int64{int64(len(data)) - 1, int64(len(data)) + 1} {
			for _, early := range []bool{true, false} {
				first, finish := &pb.BlobsWriteRequest{Digest: d}, &pb.BlobsWriteRequest{}
				if early {
					first.Size = size
				} else {
					finish.Size = size
				}
				stream, _, err := p.open(first)
				if err != nil {
					t.Fatal(err)
				}
				if err := send(stream, 0, data, finish); err != nil && err != io.EOF {
					t.Fatal(err)
				}
				_, err = stream.Recv()
				refused(t, err, codes.InvalidArgument, "SIZE_MISMATCH")
				p.mustBeUnknown(d)
			}
		}
	})
	t.Run("offset that does not follow", func(t *testing.T) {
		for _, wrong := range []int64{0, 3<<20 - 1, 3<<20 + 1, -1} {
			stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d})
			if err != nil {
				t.Fatal(err)
			}
			if err := send(stream, 0, data[:3<<20], nil); err != nil {
				t.Fatal(err)
			}
			if err := send(stream, wrong, data[3<<20:4<<20], nil); err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			info := refused(t, err, codes.OutOfRange, "UPLOAD_OFFSET")
			if info.Metadata["offset"] != strconv.Itoa(3<<20) || info.Metadata["subject"] == "" {
				t.Errorf("metadata %v", info.Metadata)
			}
			// What came before is kept, and the upload goes on from there.
			if last, err := p.write(&pb.BlobsWriteRequest{UploadId: answer.UploadId, Digest: d}, data); err != nil || last.Blob.GetDigest() != d {
				t.Fatalf("%v %v", last, err)
			}
			p.repo += "x" // where it is not there yet
		}
	})
	t.Run("message too large", func(t *testing.T) {
		stream, _, err := p.open(&pb.BlobsWriteRequest{Digest: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.BlobsWriteRequest{Data: make([]byte, 1<<20+1)}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
	t.Run("no digest", func(t *testing.T) {
		stream, _, err := p.open(&pb.BlobsWriteRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if err := send(stream, 0, data, &pb.BlobsWriteRequest{}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
	t.Run("two digests", func(t *testing.T) {
		stream, _, err := p.open(&pb.BlobsWriteRequest{Digest: d})
		if err != nil {
			t.Fatal(err)
		}
		if err := send(stream, 0, data, &pb.BlobsWriteRequest{Digest: absent}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
	t.Run("another repository's upload", func(t *testing.T) {
		up := p.park(&pb.BlobsWriteRequest{}, data[:10])
		other := *p
		other.repo = "someone/else"
		_, _, err := other.open(&pb.BlobsWriteRequest{UploadId: up.UploadId})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
	})
	t.Run("nothing at all", func(t *testing.T) {
		stream, err := p.client.Write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	})
	t.Run("aborted", func(t *testing.T) {
		up := p.park(&pb.BlobsWriteRequest{}, data[:10])
		in := &pb.BlobsAbortRequest{Repository: p.repo, UploadId: up.UploadId}
		if _, err := p.client.Abort(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		_, _, err := p.open(&pb.BlobsWriteRequest{UploadId: up.UploadId})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
		_, err = p.client.Abort(t.Context(), in)
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
	})
}

func TestClientThatStopsSending(t *testing.T) {
	s := servertest.Start(t, servertest.Options{Config: server.Config{Idle: 100 * time.Millisecond}})
	p := pushTo(t, s.Conn)
	data := randomBytes(1, 12<<20)
	for name, first := range map[string]*pb.BlobsWriteRequest{
		"digest known": {Digest: digest.FromBytes(data).String()}, "digest not known": {},
	} {
		stream, answer, err := p.open(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(stream, 0, data[:10<<20], nil); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv() // and no more is sent
		info := refused(t, err, codes.DeadlineExceeded, "UPLOAD_IDLE")
		if info.Metadata["subject"] != answer.UploadId || info.Metadata["offset"] != strconv.Itoa(10<<20) {
			t.Errorf("%s: metadata %v", name, info.Metadata)
		}
		up := p.park(&pb.BlobsWriteRequest{UploadId: answer.UploadId}, data[10<<20:])
		if up.Offset != int64(len(data)) {
			t.Errorf("%s: resumed to %d", name, up.Offset)
		}
	}
	// One that does not even send the first message.
	stream, err := p.client.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	refused(t, err, codes.DeadlineExceeded, "UPLOAD_IDLE")
}

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
	if retry := detailOf[interface{ ProtoMessage() }](err); retry == nil {
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
