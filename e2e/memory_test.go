package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// What a server may take for transfers, whatever their sizes are.
const (
	mostMemory  = 200_000_000 // bytes
	transfers   = 32          // pushes, and as many pulls
	transferred = 64 << 20    // bytes of each
)

// 32 pushes and 32 pulls of 64 MiB at once: a blob is never in memory.
func TestTheMemoryOf64TransfersAtOnce(t *testing.T) {
	lamina := filepath.Join(t.TempDir(), "lamina")
	command(t, "go", "build", "-o", lamina, "../cmd/lamina")
	for name, bucket := range map[string]func() string{
		"file":  func() string { return "file://" + t.TempDir() },
		"MinIO": func() string { return servers.MinIO(t) },
	} {
		t.Run(name, func(t *testing.T) {
			p := serveProcess(t, lamina, bucket())
			first := p.push(t, 0, nil)
			var begun sync.WaitGroup // all are under way before one goes on
			begun.Add(2 * transfers)
			var g errgroup.Group
			for i := range transfers {
				g.Go(func() error { p.push(t, uint64(i+1), &begun); return nil })
				g.Go(func() error { return p.pull(first, &begun) })
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			if most := p.peak(t); most > mostMemory {
				t.Errorf("the server took %d MB, allowed are %d", most/1e6, mostMemory/1_000_000)
			} else {
				t.Logf("the server took %d MB", most/1e6)
			}
		})
	}
}

// A process is `lamina serve`.
type process struct {
	pid int
	url string
}

var serving = regexp.MustCompile(`serving the OCI registry on (http://[0-9.:]+)`)

func serveProcess(t *testing.T, program, bucket string) *process {
	t.Helper()
	cmd := exec.Command(program, "serve", "--bucket", bucket, "--http", "127.0.0.1:0", "--grpc", "off", "--metrics", "off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(log)
	p := &process{pid: cmd.Process.Pid}
	var said strings.Builder
	for p.url == "" && lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		if m := serving.FindStringSubmatch(lines.Text()); m != nil {
			p.url = m[1]
		}
	}
	if p.url == "" {
		t.Fatalf("the server did not start: %v\n%s", cmd.Wait(), &said)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, log)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("lamina serve: %v", err)
		}
	})
	return p
}

// peak is the most memory that the process has had, in bytes.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	must(t, err)
	return kib << 10
}

// bytesOf are a blob's.
func bytesOf(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), transferred)
}

// A pausing reader waits for the others after its first bytes.
type pausing struct {
	io.Reader
	begun *sync.WaitGroup // nil: nobody else
}

func (p *pausing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), 64<<10)])
	if g := p.begun; g != nil {
		p.begun = nil
		g.Done()
		g.Wait()
	}
	return n, err
}

// push pushes a blob, and returns its digest.
func (p *process) push(t *testing.T, seed uint64, begun *sync.WaitGroup) string {
	h := sha256.New()
	if _, err := io.Copy(h, bytesOf(seed)); err != nil {
		t.Error(err)
	}
	d := "sha256:" + hex.EncodeToString(h.Sum(nil))
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.url+"/v2/demo/app/blobs/uploads/?digest="+d, &pausing{bytesOf(seed), begun})
	if err != nil {
		t.Error(err)
		return ""
	}
	req.ContentLength = transferred
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(resp.Body)
		t.Errorf("push: %s %s", resp.Status, b)
	}
	return d
}

// pull reads a blob and checks it.
func (p *process) pull(d string, begun *sync.WaitGroup) error {
	resp, err := http.Get(p.url + "/v2/demo/app/blobs/" + d)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &pausing{resp.Body, begun}); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != d {
		return fmt.Errorf("pulled %s, got %s (%s)", d, got, resp.Status)
	}
	return nil
}
