package rpc_test

import (
	"bytes"
	"context"
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

func TestClientThatStopsSending(t *testing.T) {
	s := servertest.Start(t, servertest.Options{Config: server.Config{Idle: 2 * time.Second}})
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
