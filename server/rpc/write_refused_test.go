package rpc_test

import (
	"io"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

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
