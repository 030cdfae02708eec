package node

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

const (
	// settle is how long after a change a report is made: a container's start is
	// several events.
	settle = 300 * time.Millisecond
	// look is how often the containers are looked at without an event: what they
	// write makes none.
	look = 30 * time.Second
	// lookShare bounds the share of the time that looking may take.
	lookShare = 20
	// anyway is after how long a report is sent that says nothing new.
	anyway = 10 * time.Minute
	// lookTimeout and sendTimeout bound a look and a report.
	lookTimeout = 5 * time.Minute
	sendTimeout = 20 * time.Second
	// retryFirst and retryMost are the pauses after a failure.
	retryFirst = time.Second
	retryMost  = time.Minute
)

// topics are the events after which there may be something to report.
var topics = []string{`topic~="^/containers/"`, `topic~="^/tasks/(create|start|exit|delete|paused|resumed)$"`}

// Report lets containers go on that an earlier process has left standing still,
// and sends what send is given to a server: at once, after every change, and
// every ten minutes. It returns when ctx ends. What fails is logged once, and
// tried again; only the latest state is ever sent.
func (a *Agent) Report(ctx context.Context, send func(ctx context.Context, n *pb.Node) error) {
	changed := make(chan struct{}, 1)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		a.watch(ctx, changed)
	}()
	defer func() { <-watching }()
	thawed := make(chan struct{})
	go func() {
		defer close(thawed)
		a.keepThawing(ctx)
	}()
	defer func() { <-thawed }()
	r := reports{agent: a, send: send}
	for {
		wait := r.next(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
			if !pause(ctx, settle) {
				return
			}
			select { // what came meanwhile is covered
			case <-changed:
			default:
			}
		case <-timer.C:
		}
	}
}

// reports is the state of reporting.
type reports struct {
	agent *Agent
	send  func(ctx context.Context, n *pb.Node) error

	sent    *pb.Node // the last one that arrived
	at      time.Time
	failing string // what is wrong, if it has been logged
	retry   time.Duration
}

// next makes one report if there is something to say, and returns how long to
// wait for the next without an event.
func (r *reports) next(ctx context.Context) time.Duration {
	lctx, cancel := context.WithTimeout(ctx, lookTimeout)
	began := time.Now()
	n, err := r.agent.Node(lctx)
	cancel()
	took := time.Since(began)
	if err != nil {
		return r.failed(ctx, "the containers of this node cannot be listed", err)
	}
	if !proto.Equal(n, r.sent) || time.Since(r.at) >= anyway {
		sctx, cancel := context.WithTimeout(ctx, sendTimeout)
		err = r.send(sctx, n)
		cancel()
		if err != nil {
			return r.failed(ctx, "the server does not take this node's reports", err)
		}
		r.sent, r.at = n, time.Now()
	}
	if r.failing != "" {
		r.agent.log.Info("reports go to the server again")
	}
	r.failing, r.retry = "", 0
	return max(look, lookShare*took)
}

func (r *reports) failed(ctx context.Context, what string, err error) time.Duration {
	if r.failing != what && ctx.Err() == nil {
		r.agent.log.Warn(what+"; trying again, containers are not affected", "error", err)
	}
	r.failing = what
	r.retry = min(max(2*r.retry, retryFirst), retryMost)
	return r.retry
}

// watch says on changed when something has happened, until ctx ends. It
// subscribes again when containerd has gone away.
func (a *Agent) watch(ctx context.Context, changed chan<- struct{}) {
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	retry := retryFirst
	for ctx.Err() == nil {
		sctx, cancel := context.WithCancel(ctx)
		events, errs := a.containerd.Subscribe(sctx, topics...)
		wake() // what happened before
		for open := true; open; {
			select {
			case <-events:
				retry = retryFirst
				wake()
			case <-errs:
				open = false
			}
		}
		cancel()
		if !pause(ctx, retry) {
			return
		}
		retry = min(2*retry, retryMost)
	}
}

// pause waits, and says whether ctx is still good.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
