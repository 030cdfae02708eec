package rpc

import (
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/limit"
)

type grpcReadStream = grpc.ServerStreamingServer[pb.BlobsReadResponse]

// send sends all that r delivers, and closes it. It does not wait for a client
// that takes nothing any more: gRPC has no deadline for one message, so what
// sends is in another goroutine, which ends with the stream.
func (s *blobs) send(r *blobstore.Reader, stream grpcReadStream) error {
	w := &dataWriter{stream: stream, idle: s.idle, pace: limit.Pace{Rate: s.minRate, Over: s.idle}, timer: time.NewTimer(s.idle)}
	w.timer.Stop()
	done := make(chan error, 1)
	s.streams.Go(func() {
		defer r.Close()
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		_, err := r.WriteTo(w)
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-w.timer.C:
		return &blobstore.Error{
			Class: errReadIdle, Subject: r.Blob().Digest.String(), Detail: "nothing was taken for " + s.idle.String(),
			Remedy: "read on from where you are",
		}
	}
}

// A dataWriter sends what is written to it, in messages of at most maxData.
type dataWriter struct {
	stream grpcReadStream
	idle   time.Duration
	pace   limit.Pace
	timer  *time.Timer // runs while a message waits for the client
}

// Write returns when gRPC has a copy of p, which waits while the client's
// window is full.
func (w *dataWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n := min(len(p), maxData)
		began := time.Now()
		w.timer.Reset(w.idle)
		err := w.stream.Send(&pb.BlobsReadResponse{Data: p[:n]})
		w.timer.Stop()
		if !w.pace.Keeps(n, time.Since(began)) && err == nil {
			err = &blobstore.Error{
				Class: errReadIdle, Detail: "fewer than " + strconv.FormatInt(w.pace.Rate, 10) + " bytes a second were taken",
				Remedy: "read on from where you are",
			}
		}
		if err != nil {
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
