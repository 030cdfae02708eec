package rpc

import (
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/limit"
)

// maxData is how many bytes one message of a stream carries.
const maxData = 1 << 20

type writeStream = grpc.BidiStreamingServer[pb.BlobsWriteRequest, pb.BlobsWriteResponse]

// A receiver receives the messages of an upload, and does not wait for a client
// that has stopped sending: gRPC itself has no deadline for one message. At any
// time it holds one message, besides the one it gave out last.
type receiver struct {
	stream writeStream
	idle   time.Duration
	pace   limit.Pace
	timer  *time.Timer
	got    chan received
}

type received struct {
	m   *pb.BlobsWriteRequest
	err error
}

// receive starts to receive. The goroutine ends with the stream, which is soon
// after the handler has returned; running counts it.
func receive(stream writeStream, idle time.Duration, minRate int64, running *sync.WaitGroup) *receiver {
	pace := limit.Pace{Rate: minRate, Over: idle}
	r := &receiver{stream: stream, idle: idle, pace: pace, timer: time.NewTimer(idle), got: make(chan received)}
	running.Go(func() {
		for {
			m, err := stream.Recv()
			select {
			case r.got <- received{m, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return r
}

// next returns the next message; io.EOF after the last one. Errors: errUploadIdle.
func (r *receiver) next() (*pb.BlobsWriteRequest, error) {
	began := time.Now()
	r.timer.Reset(r.idle)
	defer r.timer.Stop()
	select {
	case got := <-r.got:
		if !r.pace.Keeps(len(got.m.GetData()), time.Since(began)) && got.err == nil {
			return nil, &blobstore.Error{
				Class: errUploadIdle, Detail: "fewer than " + strconv.FormatInt(r.pace.Rate, 10) + " bytes a second came",
				Remedy: "what has arrived is kept: resume with the upload id",
			}
		}
		return got.m, got.err
	case <-r.timer.C:
		return nil, &blobstore.Error{
			Class: errUploadIdle, Detail: "no message came for " + r.idle.String(),
			Remedy: "what has arrived is kept: resume with the upload id",
		}
	case <-r.stream.Context().Done():
		return nil, r.stream.Context().Err()
	}
}

// uploadReader reads the bytes of an upload out of its messages, and sees to it
// that each follows the one before.
type uploadReader struct {
	from   *receiver
	upload string // its id
	offset int64  // where the next byte belongs
	data   []byte // of the current message, not yet read
	// finish is the message that said so; the bytes end with it. Before they
	// do, finished is asked whether it agrees.
	finish   *pb.BlobsWriteRequest
	finished func(m *pb.BlobsWriteRequest, total int64) error
	// parked, if set, ends the bytes of a client that sends no more without
	// having said finish; otherwise it is io.EOF.
	parked error
	err    error
}

// take begins to read m.
func (r *uploadReader) take(m *pb.BlobsWriteRequest) error {
	switch {
	case len(m.Data) > maxData:
		r.err = argument("data", "%d bytes in one message, at most %d", len(m.Data), maxData)
	case m.Offset != r.offset && (len(m.Data) > 0 || m.Finish):
		r.err = offsetError(r.upload, m.Offset, r.offset)
	default:
		r.data = m.Data
		if m.Finish {
			r.finish = m
		}
	}
	return r.err
}

// Read fails when the client breaks off, stops sending, or sends what does not
// follow; io.EOF is the end of what it wanted to send.
func (r *uploadReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.data) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.finish != nil {
			if r.err = r.finished(r.finish, r.offset); r.err == nil {
				r.err = io.EOF
			}
			continue
		}
		m, err := r.from.next()
		switch {
		case err == io.EOF && r.parked != nil:
			r.err = r.parked
		case err != nil:
			r.err = err
		default:
			_ = r.take(m) // keeps its error in r.err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	r.offset += int64(n)
	return n, nil
}
