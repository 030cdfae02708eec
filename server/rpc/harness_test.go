package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/servertest"
)

// onBuckets runs f on a bucket in memory and on one of files.
func onBuckets(t *testing.T, f func(t *testing.T, b bucket.Bucket)) {
	t.Run("memory", func(t *testing.T) { f(t, memory.New(memory.Options{})) })
	t.Run("file", func(t *testing.T) { f(t, openFolder(t, t.TempDir())) })
}

func openFolder(t *testing.T, dir string) *file.Bucket {
	t.Helper()
	b, err := file.Open(dir, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func start(t *testing.T, b bucket.Bucket) *servertest.Server {
	t.Helper()
	return servertest.Start(t, servertest.Options{Bucket: b})
}

// randomBytes are the same for the same seed.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// refused fails the test unless err has the code and reason, and returns what
// else it tells programs.
func refused(t *testing.T, err error, code codes.Code, reason string) *errdetails.ErrorInfo {
	t.Helper()
	s := status.Convert(err)
	info := detailOf[*errdetails.ErrorInfo](err)
	if s.Code() != code || info == nil || info.Reason != reason || info.Domain != "lamina.store" {
		t.Fatalf("got %v with %v, want %v with reason %s", err, info, code, reason)
	}
	return info
}

func detailOf[T any](err error) (none T) {
	for _, d := range status.Convert(err).Details() {
		if m, ok := d.(T); ok {
			return m
		}
	}
	return none
}

// A pusher pushes over one connection.
type pusher struct {
	t      *testing.T
	client pb.BlobsClient
	repo   string
}

func pushTo(t *testing.T, conn grpc.ClientConnInterface) *pusher {
	return &pusher{t, pb.NewBlobsClient(conn), "demo/app"}
}

// put stores data in the way that a client does, and returns its digest.
func (p *pusher) put(data []byte) string {
	p.t.Helper()
	d := digest.FromBytes(data).String()
	if got, err := p.write(&pb.BlobsWriteRequest{Digest: d, Size: int64(len(data))}, data); err != nil {
		p.t.Fatalf("write %d bytes: %v", len(data), err)
	} else if got.Blob.GetDigest() != d || got.Blob.Size != int64(len(data)) {
		p.t.Fatalf("stored %v, want %s", got.Blob, d)
	}
	return d
}

// open begins a stream with first and returns it with the first answer. The
// stream ends with the test.
func (p *pusher) open(first *pb.BlobsWriteRequest) (grpc.BidiStreamingClient[pb.BlobsWriteRequest, pb.BlobsWriteResponse], *pb.BlobsWriteResponse, error) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	stream, err := p.client.Write(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	first.Repository = p.repo
	if err := stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
	answer, err := stream.Recv()
	return stream, answer, err
}

// send sends data in messages of 1 MiB, the first byte belonging at offset.
func send(stream grpc.BidiStreamingClient[pb.BlobsWriteRequest, pb.BlobsWriteResponse], offset int64, data []byte, finish *pb.BlobsWriteRequest) error {
	for len(data) > 0 {
		n := min(len(data), 1<<20)
		if err := stream.Send(&pb.BlobsWriteRequest{Offset: offset, Data: data[:n]}); err != nil {
			return err
		}
		offset, data = offset+int64(n), data[n:]
	}
	if finish == nil {
		return nil
	}
	finish.Offset, finish.Finish = offset, true
	return stream.Send(finish)
}

// write stores data; when the first answer says where to go on it does so.
func (p *pusher) write(first *pb.BlobsWriteRequest, data []byte) (*pb.BlobsWriteResponse, error) {
	p.t.Helper()
	stream, answer, err := p.open(first)
	if err != nil || answer.Blob != nil {
		return answer, err
	}
	if err := send(stream, answer.Offset, data[answer.Offset:], &pb.BlobsWriteRequest{Digest: first.Digest}); err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
	last, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); err != io.EOF {
		p.t.Fatalf("after the last answer: %v", err)
	}
	return last, nil
}

// read returns what arrives of a blob, and the error that ended it.
func (p *pusher) read(in *pb.BlobsReadRequest) ([]byte, error) {
	p.t.Helper()
	in.Repository = p.repo
	stream, err := p.client.Read(p.t.Context(), in)
	if err != nil {
		p.t.Fatal(err)
	}
	var b bytes.Buffer
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return b.Bytes(), nil
		}
		if err != nil {
			return b.Bytes(), err
		}
		if len(m.Data) == 0 || len(m.Data) > 1<<20 {
			p.t.Fatalf("a message of %d bytes", len(m.Data))
		}
		b.Write(m.Data)
	}
}
