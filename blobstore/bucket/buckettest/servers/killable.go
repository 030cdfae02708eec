package servers

import (
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/internal/needs"
)

// A Killable is a MinIO of one test's own, which the test may kill and start
// again, on the same address and with the data it has on disk.
type Killable struct {
	URL string // of a bucket; opening it makes it

	server *server
	dir    string
	addr   string
	cmd    *exec.Cmd
	stdin  io.Closer
}

// KillableMinIO starts one. It ends with the test.
func KillableMinIO(t testing.TB) *Killable {
	t.Helper()
	needs.Commands(t, minio.program)
	shared := MinIO(t) // sees to the credentials, and has the form of the URL
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	k := &Killable{
		URL:    withEndpoint(t, shared, "http://"+addr),
		server: &server{program: minio.program, endpoint: "http://" + addr}, dir: t.TempDir(), addr: addr,
	}
	if err := os.Mkdir(filepath.Join(k.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Kill)
	k.Start(t)
	return k
}

// withEndpoint is a bucket's URL at another server.
func withEndpoint(t testing.TB, raw, endpoint string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("endpoint", endpoint)
	u.RawQuery = q.Encode()
	return u.String()
}

// guardOnly is guard that leaves the folder.
const guardOnly = `
"$@" >/dev/null 2>&1 </dev/null & pid=$!
read -r _
kill -9 $pid
wait $pid 2>/dev/null
`

// Start starts it again, and returns when it answers.
func (k *Killable) Start(t testing.TB) {
	t.Helper()
	k.cmd = exec.Command("/bin/sh", append([]string{"-c", guardOnly, "sh"}, minio.command(k.dir, k.addr)...)...)
	k.cmd.Env = append(os.Environ(), append(minio.env, "HOME="+k.dir)...)
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := k.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.stdin = stdin
	if err := k.server.ready(30 * time.Second); err != nil {
		k.Kill()
		t.Fatal(err)
	}
}

// Kill kills it, with SIGKILL, and returns when it is dead.
func (k *Killable) Kill() {
	if k.cmd != nil {
		_ = k.stdin.Close()
		_ = k.cmd.Wait()
		k.cmd = nil
	}
}
