package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

const (
	// heartbeat is how often something is sent at least, so that nothing between
	// here and the client takes the stream for dead.
	heartbeat = 10 * time.Second
	// progressEvery is how often progress is sent at most.
	progressEvery = 200 * time.Millisecond
)

// A feed sends what a run tells while it works. A client that takes nothing for
// idle ends the run.
type feed[Message any] struct {
	stream grpc.ServerStreamingServer[Message]
	idle   time.Duration
	stuck  *time.Timer // runs while a message waits for the client
	// progressed makes a message of progress.
	progressed func(*pb.MaintenanceProgress) *Message

	mu      sync.Mutex
	last    *pb.MaintenanceProgress // that there is, sent or not
	unsent  bool
	sent    time.Time // when the last message was
	err     error     // of the first send that failed
	cancel  context.CancelFunc
	waiting []func() *Message // what else is to be sent, before progress is
}

func newFeed[Message any](stream grpc.ServerStreamingServer[Message], idle time.Duration, progressed func(*pb.MaintenanceProgress) *Message) *feed[Message] {
	f := &feed[Message]{stream: stream, idle: idle, stuck: time.NewTimer(idle), progressed: progressed}
	f.stuck.Stop()
	return f
}

// run calls work, which tells f what it does, until it ends, the client has gone
// or stands still, or stop is closed. What work returns then is what counts, but
// for the last two. wg waits for the goroutines.
func (f *feed[Message]) run(ctx context.Context, wg *sync.WaitGroup, stop <-chan struct{}, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.cancel = cancel
	done := make(chan error, 1)
	wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		done <- work(ctx)
	})
	wg.Go(func() { f.beat(ctx) })
	select {
	case err := <-done:
		return err
	case <-f.stuck.C:
		return &blobstore.Error{Class: errReadIdle, Subject: "run", Detail: "nothing was taken for " + f.idle.String()}
	case <-stop:
		cancel()
		<-done
		return errStopping
	}
}

// beat sends the last progress again when nothing else was sent for a while.
func (f *feed[Message]) beat(ctx context.Context) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.mu.Lock()
			if time.Since(f.sent) > heartbeat/2 {
				f.flush(true)
			}
			f.mu.Unlock()
		}
	}
}

// progress sends p, unless another was sent just now. The last of each phase is
// sent in any case.
func (f *feed[Message]) progress(p *pb.MaintenanceProgress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && f.last.Phase != p.Phase {
		f.flush(false)
		f.sent = time.Time{}
	}
	f.last, f.unsent = p, true
	if time.Since(f.sent) >= progressEvery {
		f.flush(false)
	}
}

// send sends m after all that was told before it.
func (f *feed[Message]) send(m *Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush(false)
	f.write(m)
}

// flush sends what has not been sent; f.mu is held.
func (f *feed[Message]) flush(again bool) {
	for _, make := range f.waiting {
		if m := make(); m != nil {
			f.write(m)
		}
	}
	if f.unsent || again {
		p := f.last
		if p == nil {
			p = &pb.MaintenanceProgress{}
		}
		f.unsent = false
		f.write(f.progressed(p))
	}
}

func (f *feed[Message]) write(m *Message) {
	if f.err != nil {
		return
	}
	f.stuck.Reset(f.idle)
	f.err = f.stream.Send(m)
	f.stuck.Stop()
	f.sent = time.Now()
	if f.err != nil {
		f.cancel()
	}
}
