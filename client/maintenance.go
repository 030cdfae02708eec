package client

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// busyPause is how long to wait for a server to notice that a connection is lost.
const busyPause = 2 * time.Second

// A CollectionWatch is told of a collection while it runs, in one goroutine. What
// is nil is not called.
type CollectionWatch struct {
	Progress func(*pb.MaintenanceProgress)
	// Found is told of each thing that goes, or would, if in.Findings is set.
	Found func(*pb.CollectionFinding)
}

// Collect runs one cycle of collection on the server, and returns its report. When
// ctx ends, so does the cycle. A server that is not reached is tried again; a cycle
// that was broken off is not, since the next one does what it has left.
// Errors: *Error, with REASON_MAINTENANCE_BUSY when somebody else collects.
func (c *Client) Collect(ctx context.Context, in *pb.MaintenanceCollectRequest, w CollectionWatch) (*pb.CollectionReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := c.patience()
	for {
		out, began, err := c.collect(ctx, in, w)
		if err == nil {
			return out, nil
		}
		if began {
			return out, asError(err, c.addr)
		}
		if err := p.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (c *Client) collect(ctx context.Context, in *pb.MaintenanceCollectRequest, w CollectionWatch) (report *pb.CollectionReport, began bool, err error) {
	stream, err := c.maintenance.Collect(ctx, in)
	began, err = follow(c, stream, err, func(m *pb.MaintenanceCollectResponse) bool {
		if x := m.GetProgress(); x != nil && w.Progress != nil {
			w.Progress(x)
		}
		for _, f := range m.GetFindings().GetFindings() {
			if w.Found != nil {
				w.Found(f)
			}
		}
		if m.GetReport() != nil {
			report = m.GetReport()
		}
		return report != nil
	})
	return report, began, err
}

// LastCollection returns the report of the last cycle that ended; nil when there
// was none.
func (c *Client) LastCollection(ctx context.Context) (*pb.CollectionReport, error) {
	out, err := call(ctx, c, c.maintenance.LastCollection, &pb.MaintenanceLastCollectionRequest{})
	return out.GetReport(), err
}

// A VerificationWatch is told of a verification while it runs, in one goroutine.
// What is nil is not called.
type VerificationWatch struct {
	Progress func(*pb.MaintenanceProgress)
	Found    func(*pb.VerificationFinding)
}

// Verify reads back what is stored, and returns what was found. When ctx ends, so
// does the verification, and another goes on from there. A lost connection is not
// noticed. The report may come with an error, too.
// Errors: *Error, with REASON_MAINTENANCE_BUSY when somebody else verifies.
func (c *Client) Verify(ctx context.Context, in *pb.MaintenanceVerifyRequest, w VerificationWatch) (*pb.VerificationReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := c.patience()
	again := false // it has begun on a connection that was lost
	for {
		out, began, err := c.verify(ctx, in, w)
		if err == nil {
			return out, nil
		}
		if began {
			p.moved()
			again = true
			in.Restart = false
		}
		if err = asError(err, c.addr); again && ReasonOf(err) == pb.Reason_REASON_MAINTENANCE_BUSY {
			// The server has yet to notice that it is not listened to.
			err.(*Error).retry = busyPause
		}
		if err := p.wait(ctx, err); err != nil {
			return out, err
		}
	}
}

func (c *Client) verify(ctx context.Context, in *pb.MaintenanceVerifyRequest, w VerificationWatch) (report *pb.VerificationReport, began bool, err error) {
	stream, err := c.maintenance.Verify(ctx, in)
	began, err = follow(c, stream, err, func(m *pb.MaintenanceVerifyResponse) bool {
		if x := m.GetProgress(); x != nil && w.Progress != nil {
			w.Progress(x)
		}
		if f := m.GetFinding(); f != nil && w.Found != nil {
			w.Found(f)
		}
		if m.GetReport() != nil {
			report = m.GetReport()
		}
		return report != nil
	})
	return report, began, err
}

// LastVerification returns the report of the last verification; nil when there was
// none.
func (c *Client) LastVerification(ctx context.Context) (*pb.VerificationReport, error) {
	out, err := call(ctx, c, c.maintenance.LastVerification, &pb.MaintenanceLastVerificationRequest{})
	return out.GetReport(), err
}

// follow receives what a run sends, until its end. began says whether there was a
// first message. It is an error of the connection when the end comes before last
// says that there was a last message.
func follow[Message any](c *Client, stream grpc.ServerStreamingClient[Message], err error, each func(*Message) (last bool)) (began bool, _ error) {
	if err != nil {
		return false, err
	}
	ended := false
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && ended:
			return began, nil
		case errors.Is(err, io.EOF):
			return began, status.Error(codes.Unavailable, "the server ended the call before its end")
		case err != nil:
			return began, err
		}
		began = true
		c.contacted.Store(true)
		ended = each(m) || ended
	}
}
