// Command go stores a file as a blob and reads it back, with nothing but the
// generated code. Programs in Go have package client, which does more.
//
//	go run ./proto/examples/go localhost:7070 demo/app FILE
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

const chunk = 1 << 20 // the most that one message may carry

// reason is the reason of an error ("BLOB_UNKNOWN", …) and what goes with it.
func reason(err error) (string, map[string]string) {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason, info.Metadata
		}
	}
	return "", nil
}

// send is one connection's worth of an upload. first has the id to go on with.
func send(ctx context.Context, blobs pb.BlobsClient, first *pb.BlobsWriteRequest, f *os.File) (*pb.Descriptor, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := blobs.Write(ctx)
	if err != nil {
		return nil, err
	}
	// Send fails with io.EOF when the server has ended the stream; Recv says why.
	if err := stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil || answer.Blob != nil {
		return answer.GetBlob(), err
	}
	first.UploadId = answer.UploadId
	offset := answer.Offset // the server says where to go on
	for buf := make([]byte, chunk); ; {
		n, err := f.ReadAt(buf, offset)
		if err != nil && err != io.EOF {
			return nil, err
		}
		m := &pb.BlobsWriteRequest{Offset: offset, Data: buf[:n], Finish: err == io.EOF}
		if err := stream.Send(m); err != nil || m.Finish {
			break
		}
		offset += int64(n)
	}
	answer, err = stream.Recv()
	return answer.GetBlob(), err
}

func put(ctx context.Context, blobs pb.BlobsClient, repository string, f *os.File) (*pb.Descriptor, error) {
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, err
	}
	first := &pb.BlobsWriteRequest{Repository: repository, Digest: fmt.Sprintf("sha256:%x", h.Sum(nil)), Size: size}
	for attempt := 1; ; attempt++ {
		blob, err := send(ctx, blobs, first, f)
		if err == nil {
			return blob, nil
		}
		why, facts := reason(err)
		log.Printf("attempt %d: %v %s %v", attempt, status.Code(err), why, facts)
		switch code := status.Code(err); {
		case why == "UPLOAD_UNKNOWN":
			first.UploadId = "" // it ended or grew too old: begin anew
		case attempt == 10, code != codes.Unavailable && code != codes.Aborted && code != codes.DeadlineExceeded:
			return nil, err
		}
		time.Sleep(time.Second)
	}
}

func get(ctx context.Context, blobs pb.BlobsClient, repository, digest string) (size int, err error) {
	stream, err := blobs.Read(ctx, &pb.BlobsReadRequest{Repository: repository, Digest: digest})
	h := sha256.New()
	for err == nil {
		var answer *pb.BlobsReadResponse
		if answer, err = stream.Recv(); err == nil {
			h.Write(answer.Data)
			size += len(answer.Data)
		}
	}
	if err != io.EOF {
		return size, err
	}
	if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != digest {
		return size, fmt.Errorf("read %s, not %s", got, digest)
	}
	return size, nil
}

func run(ctx context.Context, out io.Writer, server, repository, path string) error {
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	blobs := pb.NewBlobsClient(conn)
	blob, err := put(ctx, blobs, repository, f)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "stored", blob.Digest, blob.Size)
	size, err := get(ctx, blobs, repository, blob.Digest)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "read", size)
	_, err = blobs.Stat(ctx, &pb.BlobsStatRequest{Repository: repository, Digest: fmt.Sprintf("sha256:%064d", 0)})
	why, facts := reason(err)
	fmt.Fprintln(out, "as expected:", why, facts)
	return nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatalf("usage: %s SERVER REPOSITORY FILE", os.Args[0])
	}
	if err := run(context.Background(), os.Stdout, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}
