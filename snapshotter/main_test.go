package snapshotter_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/internal/failpoint"
	"github.com/laminastore/lamina/snapshotter"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// Where the service runs when the test binary is started as the service.
const (
	envRoot   = "LAMINA_TEST_ROOT"
	envSocket = "LAMINA_TEST_SOCKET"
)

// TestMain lets the test binary be the service, so that tests can kill it.
func TestMain(m *testing.M) {
	if os.Getenv(envRoot) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveFromEnv(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveFromEnv(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	sn, err := overlay.Open(overlay.Config{Root: os.Getenv(envRoot), Log: log})
	if err != nil {
		return err
	}
	defer sn.Close()
	return snapshotter.Run(ctx, snapshotter.Config{Snapshots: sn, Socket: os.Getenv(envSocket), Log: log})
}

// A process is the service in a process of its own.
type process struct {
	api
	// ctx ends when the process does, for calls to it.
	ctx    context.Context
	cmd    *exec.Cmd
	output *output
	died   <-chan error
}

// start starts the service. With a failpoint it may die at any time.
func start(t testing.TB, root, socket, failpointEnv string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), output: &output{}}
	p.cmd.Env = append(os.Environ(), envRoot+"="+root, envSocket+"="+socket, failpoint.Env+"="+failpointEnv,
		"GORACE=atexit_sleep_ms=0") // the race detector would sleep for a second before it ends
	p.cmd.Stderr = p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	died := make(chan error, 1)
	go func() {
		died <- p.cmd.Wait()
		cancel()
	}()
	p.ctx, p.died = ctx, died
	p.api = client(t, socket)
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends the process as the kernel would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ctx.Done()
}

// stop asks the process to end.
func (p *process) stop(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.died; err != nil {
		t.Fatalf("the service ended with %v\n%s", err, p.output)
	}
}

// alive tells whether the process has ended; if it has, it must have been
// killed, or it would be an error of ours.
func (p *process) alive(t testing.TB) bool {
	t.Helper()
	if p.ctx.Err() == nil {
		return true
	}
	if sig := p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); sig != syscall.SIGKILL {
		t.Fatalf("the service ended by itself: %v\n%s", p.cmd.ProcessState, p.output)
	}
	return false
}

// output collects what a process prints, while others may look at it.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
