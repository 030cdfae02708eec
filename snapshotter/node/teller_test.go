package node

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A deafStream is a caller that takes nothing until it wakes.
type deafStream struct {
	grpc.ServerStreamingServer[pb.ContainersCommitResponse]
	awake chan struct{}
	got   []*pb.ContainersCommitResponse
}

func (s *deafStream) Context() context.Context { return context.Background() }

func (s *deafStream) Send(r *pb.ContainersCommitResponse) error {
	<-s.awake
	s.got = append(s.got, r)
	return nil
}

// A caller whose terminal has been stopped must not keep a container standing
// still.
func TestNothingWaitsForACallerThatDoesNotListen(t *testing.T) {
	s := &deafStream{awake: make(chan struct{})}
	teller := newTeller(s)
	const total = 1000 << 20
	for n := int64(0); n <= total; n += 1 << 20 {
		teller.at(pb.CommitStep_COMMIT_STEP_READ, n, total)
	}
	close(s.awake)
	if err := teller.result(&pb.CommitResult{Reference: "r"}); err != nil {
		t.Fatal(err)
	}
	n := len(s.got)
	if n < 2 || n > 3 || s.got[n-1].GetResult().GetReference() != "r" || s.got[n-2].GetProgress().GetDoneBytes() != total {
		t.Errorf("it got %v", s.got)
	}
	teller.at(pb.CommitStep_COMMIT_STEP_PUSH, 1, 1) // an upload that ends late
	teller.end()
	if len(s.got) != n {
		t.Error("something was sent after the result")
	}
}
