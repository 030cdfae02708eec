package rpc

import (
	"io"
	"sync"

	"google.golang.org/grpc"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

type grpcReadStream = grpc.ServerStreamingServer[pb.BlobsReadResponse]

// A dataWriter sends what is written to it, in messages of at most maxData.
type dataWriter struct {
	stream grpcReadStream
}

// Write returns when gRPC has a copy of p, which waits while the client's
// window is full.
func (w *dataWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n := min(len(p), maxData)
		if err := w.stream.Send(&pb.BlobsReadResponse{Data: p[:n]}); err != nil {
			return done, err
		}
		done, p = done+n, p[n:]
	}
	return done, nil
}

// rangeBuffer is the size of messages of a range. io.Copy would make 32 KiB,
// each of which costs as much as a larger one.
const rangeBuffer = 256 << 10

var rangeBuffers = sync.Pool{New: func() any { return new([rangeBuffer]byte) }}

var _ io.ReaderFrom = (*dataWriter)(nil)

// ReadFrom is for io.Copy.
func (w *dataWriter) ReadFrom(r io.Reader) (int64, error) {
	buf := rangeBuffers.Get().(*[rangeBuffer]byte)
	defer rangeBuffers.Put(buf)
	var done int64
	for {
		n, err := fill(buf[:], r)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return done, werr
			}
			done += int64(n)
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// fill is io.ReadFull that returns r's own error, so that one which broke off
// with io.ErrUnexpectedEOF is not taken for one that was short.
func fill(buf []byte, r io.Reader) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}
