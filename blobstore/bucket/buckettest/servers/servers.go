// Package servers starts real S3 servers for tests: one process of each for a
// test binary, on a free port of the loopback interface, with its data in a
// folder of its own. Nothing needs to be closed: when the test binary ends,
// also by a crash or a kill, the server is killed and its folder removed.
//
// The programs are looked up on PATH, which scripts/env.sh sets. A test that
// asks for one that is not there is skipped, or fails in CI.
package servers

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/internal/needs"
)

// Credentials of all servers. They are put into the environment of the process,
// where package s3 looks for them, when the first server starts.
const (
	AccessKey = "lamina-test"
	SecretKey = "lamina-test-secret"
)

// MinIO returns the URL of a new bucket on MinIO; opening it makes it.
func MinIO(t testing.TB) string { return minio.bucket(t) }

// VersityGW returns the URL of a new bucket on versitygw, a gateway over a
// folder; opening it makes it.
func VersityGW(t testing.TB) string { return versitygw.bucket(t) }

var minio = &server{
	program: "minio",
	command: func(dir, addr string) []string {
		return []string{"minio", "--quiet", "--config-dir", filepath.Join(dir, "config"),
			"server", "--address", addr, filepath.Join(dir, "data")}
	},
	env: []string{
		"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on", // it refuses the disk of / otherwise
	},
}

var versitygw = &server{
	program: "versitygw",
	command: func(dir, addr string) []string {
		return []string{"versitygw", "--quiet", "--keep-alive", "--port", addr,
			"--access", AccessKey, "--secret", SecretKey, "posix", filepath.Join(dir, "data")}
	},
}

// A server is one program, started at most once.
type server struct {
	program string
	command func(dir, addr string) []string
	env     []string

	once     sync.Once
	endpoint string
	err      error
	stdin    io.Closer // kept open: its end is the server's
}

func (s *server) bucket(t testing.TB) string {
	t.Helper()
	needs.Commands(t, s.program)
	s.once.Do(func() { s.err = s.start() })
	if s.err != nil {
		t.Fatalf("start %s: %v", s.program, s.err)
	}
	name := "lamina-" + strings.ToLower(rand.Text())
	query := url.Values{"endpoint": {s.endpoint}, "region": {"us-east-1"}, "create": {"true"}}
	return (&url.URL{Scheme: "s3", Host: name, RawQuery: query.Encode()}).String()
}

// guard runs its arguments until its input ends, which is when the process at
// the other end of the pipe does. Then it kills them and removes the folder.
const guard = `
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null & pid=$!
read -r _
kill -9 $pid
wait $pid 2>/dev/null
rm -rf "$dir"
`

func (s *server) start() error {
	if err := os.Setenv("AWS_ACCESS_KEY_ID", AccessKey); err != nil {
		return err
	}
	if err := os.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey); err != nil {
		return err
	}
	// Between finding a free port and taking it another process may be faster.
	var err error
	for range 3 {
		if err = s.try(); err == nil {
			return nil
		}
	}
	return err
}

func (s *server) try() error {
	dir, err := os.MkdirTemp("", "lamina-"+s.program+"-")
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "sh", dir}, s.command(dir, addr)...)...)
	cmd.Env = append(os.Environ(), append(s.env, "HOME="+dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: the guard must clean up
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.endpoint, s.stdin = "http://"+addr, stdin
	if err := s.ready(30 * time.Second); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		_ = stdin.Close()
		_ = cmd.Wait() // it says how the server was killed
		return fmt.Errorf("%w; it said:\n%s", err, log)
	}
	return nil
}

// ready waits until the server refuses a stranger: then it knows its accounts.
// (MinIO's own health checks say that it is ready some time before.)
func (s *server) ready(limit time.Duration) error {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Timeout: time.Second}
	for {
		resp, err := client.Get(s.endpoint + "/no-bucket")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound {
				return nil
			}
			err = fmt.Errorf("status %s", resp.Status)
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("not ready after %s: %w", limit, err)
		}
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
