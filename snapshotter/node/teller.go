package node

import (
	"sync"

	"google.golang.org/grpc"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A teller tells the caller how far a commit has come. Nothing waits for the
// caller to take it: a terminal that has been stopped would keep a container
// standing still. What it has no time for it is not told.
type teller struct {
	stream grpc.ServerStreamingServer[pb.ContainersCommitResponse]

	mu    sync.Mutex
	step  pb.CommitStep
	told  int64 // of the step
	over  bool
	next  chan *pb.CommitProgress // one at most
	ended chan struct{}           // closed when nothing is being sent any more
}

func newTeller(stream grpc.ServerStreamingServer[pb.ContainersCommitResponse]) *teller {
	t := &teller{stream: stream, next: make(chan *pb.CommitProgress, 1), ended: make(chan struct{})}
	go t.run()
	return t
}

func (t *teller) run() {
	defer close(t.ended)
	for p := range t.next {
		// A caller that has gone is noticed by the call's context.
		_ = t.stream.Send(&pb.ContainersCommitResponse{Event: &pb.ContainersCommitResponse_Progress{Progress: p}})
	}
}

// at tells of progress, not more than once a MiB.
func (t *teller) at(step pb.CommitStep, done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || step == t.step && done < t.told+1<<20 && done < total {
		return
	}
	t.step, t.told = step, done
	p := &pb.CommitProgress{Step: step, DoneBytes: done, TotalBytes: total}
	select {
	case t.next <- p:
		return
	default:
	}
	select { // the newer one instead
	case <-t.next:
	default:
	}
	t.next <- p
}

// end waits until nothing is being sent any more, as it must before the call
// returns or sends something else.
func (t *teller) end() {
	t.mu.Lock()
	if !t.over {
		t.over = true
		close(t.next)
	}
	t.mu.Unlock()
	<-t.ended
}

func (t *teller) result(res *pb.CommitResult) error {
	t.end()
	return t.stream.Send(&pb.ContainersCommitResponse{Event: &pb.ContainersCommitResponse_Result{Result: res}})
}
