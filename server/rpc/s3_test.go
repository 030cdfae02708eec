package rpc_test

import (
	"bytes"
	"testing"

	"github.com/opencontainers/go-digest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// The S3 server is killed in the middle of an upload: the client is told to try
// again, and once the bucket is back the upload goes on where it was.
func TestS3KilledInTheMiddle(t *testing.T) {
	s3 := servers.KillableMinIO(t)
	b, err := open.Bucket(t.Context(), s3.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := pushTo(t, start(t, b).Conn)
	data := randomBytes(1, 40<<20)
	d := digest.FromBytes(data).String()
	up := p.park(&pb.BlobsWriteRequest{Digest: d}, data[:18<<20])
	stream, answer, err := p.open(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d})
	if err != nil || answer.Offset != 18<<20 {
		t.Fatalf("%v %v", answer, err)
	}
	s3.Kill()
	_ = send(stream, answer.Offset, data[answer.Offset:], &pb.BlobsWriteRequest{}) // fails once the server has said why
	_, err = stream.Recv()
	refused(t, err, codes.Unavailable, "BUCKET_UNAVAILABLE")
	if detailOf[*errdetails.RetryInfo](err) == nil {
		t.Error("nobody says when to try again")
	}

	s3.Start(t)
	p.mustBeUnknown(d)
	st, err := p.client.Status(t.Context(), &pb.BlobsStatusRequest{Repository: p.repo, UploadId: up.UploadId})
	if err != nil || st.Offset < 18<<20 {
		t.Fatalf("%v %v", st, err)
	}
	last, err := p.write(&pb.BlobsWriteRequest{UploadId: up.UploadId, Digest: d}, data)
	if err != nil || last.Blob.GetDigest() != d {
		t.Fatalf("%v %v", last, err)
	}
	p.mustRead(d, data)
}

// The same in the middle of a read: what came is a beginning of the blob, the
// error says to try again, and the rest can be read from there.
func TestS3KilledDuringARead(t *testing.T) {
	s3 := servers.KillableMinIO(t)
	b, err := open.Bucket(t.Context(), s3.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := pushTo(t, start(t, b).Conn)
	data := randomBytes(1, 64<<20)
	d := p.put(data)
	stream, err := p.client.Read(t.Context(), &pb.BlobsReadRequest{Repository: p.repo, Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	s3.Kill()
	got := m.Data
	for err == nil {
		if m, err = stream.Recv(); err == nil {
			got = append(got, m.Data...)
		}
	}
	refused(t, err, codes.Unavailable, "BUCKET_UNAVAILABLE")
	if !bytes.HasPrefix(data, got) {
		t.Fatal("what came is not the blob's")
	}
	s3.Start(t)
	rest, err := p.read(&pb.BlobsReadRequest{Digest: d, Offset: int64(len(got))})
	if err != nil || !bytes.Equal(append(got, rest...), data) {
		t.Errorf("the rest: %d bytes, %v", len(rest), err)
	}
}
