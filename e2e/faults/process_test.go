package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is waited for. It is no measure of
// anything: only a test that hangs comes to its end.
const patience = 3 * time.Minute

var build struct {
	once sync.Once
	dir  string
	err  error
}

// lamina is the program, built from this checkout.
func lamina(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "lamina-faults-"); build.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(build.dir, "lamina"), "../../cmd/lamina").CombinedOutput()
		if err != nil {
			build.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return filepath.Join(build.dir, "lamina")
}

// A process is a server in a process of its own, which is started again and
// again at the same addresses.
type process struct {
	argv                []string
	env                 []string // beside that of the test
	http, grpc, metrics string

	mu   sync.Mutex
	life *life // the present or last one
}

// A life is one run of a process.
type life struct {
	cmd   *exec.Cmd
	said  *tail
	ended chan struct{} // closed when it has ended
}

// serve starts `lamina serve` on a bucket, and returns when it is ready.
func serve(t testing.TB, bucket string, flags ...string) *process {
	t.Helper()
	p := &process{http: address(t), grpc: address(t), metrics: address(t)}
	p.argv = append([]string{lamina(t), "serve", "--bucket", bucket, "--http", p.http, "--grpc", p.grpc, "--metrics", p.metrics, "--log-level", "warn"}, flags...)
	p.begin(t)
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server at %s said:\n%s", p.grpc, p.current().said)
		}
	})
	return p
}

// address is one on which nobody listens. The kernel takes none of this range for
// connections, so that it is still free after the server was killed.
func address(t testing.TB) string {
	t.Helper()
	for range 100 {
		a := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", a); err == nil {
			_ = l.Close()
			return a
		}
	}
	t.Fatal("no free port")
	return ""
}

// begin starts the process. It ends with the test.
func (p *process) begin(t testing.TB, env ...string) *life {
	t.Helper()
	l := &life{cmd: exec.Command(p.argv[0], p.argv[1:]...), said: &tail{}, ended: make(chan struct{})}
	l.cmd.Env = append(append(os.Environ(), p.env...), env...)
	l.cmd.Stderr, l.cmd.Stdout = l.said, l.said
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		_ = l.cmd.Wait() // how it ended is in its ProcessState
	}()
	p.mu.Lock()
	p.life = l
	p.mu.Unlock()
	return l
}

func (p *process) current() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// ready returns when the server answers.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l := p.current()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-l.ended:
			return fmt.Errorf("the server ended: %v\n%s", l.cmd.ProcessState, l.said)
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w\n%s", context.Cause(ctx), l.said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends it with SIGKILL.
func (p *process) kill() {
	l := p.current()
	_ = l.cmd.Process.Kill()
	<-l.ended
}

// stop ends it as an init system would, and says how that went.
func (p *process) stop() error {
	l := p.current()
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.ended:
	case <-time.After(patience):
		p.kill()
		return errors.New("the server did not stop")
	}
	if !l.cmd.ProcessState.Success() {
		return fmt.Errorf("the server ended with %v\n%s", l.cmd.ProcessState, l.said)
	}
	return nil
}

var killedAt = regexp.MustCompile(`(?m)^failpoint: killed at (\S+)$`)

// killedAt is the step at which a life ended; "" if it was none.
func (l *life) killedAt() string {
	if m := killedAt.FindStringSubmatch(l.said.String()); m != nil {
		return m[1]
	}
	return ""
}

// A tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 64 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 2*tailSize {
		l.b = append(l.b[:0], l.b[len(l.b)-tailSize:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.b))
}

// eventually waits until so says yes.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
