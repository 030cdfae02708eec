package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A system is a registry over a store. start runs it on an empty store.
type system struct {
	name, store string
	start       func(ctx context.Context, dir string) (*process, error)
}

// A process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	addr string // of its HTTP API
}

const (
	accessKey = "benchbench"
	secretKey = "benchbench"
)

// splitAddr splits what freeAddr returned.
func splitAddr(addr string) (host, port string) {
	host, port, _ = strings.Cut(addr, ":")
	return host, port
}

func freeAddr() (string, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return "", err
	}
	return addrs[0], nil
}

// freeAddrs returns n different addresses at which nobody listens.
func freeAddrs(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// spawn starts a command that answers url when it is ready. Its output goes to
// dir/log.
func spawn(ctx context.Context, dir, addr, url string, env []string, name string, args ...string) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, addr: addr}
	for range 300 {
		if resp, err := http.Get(url); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 500 {
				return p, nil
			}
		}
		if p.ended() {
			break
		}
		select {
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	p.stop()
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	return nil, fmt.Errorf("%s ended, or did not answer on %s in 30 s; it said:\n%s", name, url, log)
}

// ended says whether the process has ended by itself.
func (p *process) ended() bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(raw), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
}

// cpu is the processor time the process has used.
func (p *process) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

// peak is the most memory the process has had, in bytes.
func (p *process) peak() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM")
}

func startMinIO(ctx context.Context, dir string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return spawn(ctx, dir, addr, "http://"+addr+"/minio/health/live",
		[]string{"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey},
		"minio", "server", filepath.Join(dir, "data"), "--address", addr)
}

func laminaOnFiles(binary string) func(context.Context, string) (*process, error) {
	return func(ctx context.Context, dir string) (*process, error) {
		return lamina(ctx, binary, dir, "file://"+filepath.Join(dir, "bucket"))
	}
}

var buckets atomic.Int64

func laminaOnS3(binary string, minio *process) func(context.Context, string) (*process, error) {
	return func(ctx context.Context, dir string) (*process, error) {
		return lamina(ctx, binary, dir, fmt.Sprintf("s3://lamina%d?endpoint=http://%s&region=us-east-1&create=true", buckets.Add(1), minio.addr))
	}
}

func lamina(ctx context.Context, binary, dir, bucket string) (*process, error) {
	addrs, err := freeAddrs(3)
	if err != nil {
		return nil, err
	}
	return spawn(ctx, dir, addrs[0], "http://"+addrs[0]+"/v2/", []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey},
		binary, "serve", "--bucket", bucket, "--http", addrs[0], "--grpc", addrs[1], "--metrics", addrs[2])
}

func distributionOnFiles(ctx context.Context, dir string) (*process, error) {
	return distribution(ctx, dir, "  filesystem:\n    rootdirectory: "+filepath.Join(dir, "bucket"))
}

func distributionOnS3(minio *process) func(context.Context, string) (*process, error) {
	return func(ctx context.Context, dir string) (*process, error) {
		bucket := fmt.Sprintf("distribution%d", buckets.Add(1))
		if err := makeBucket(ctx, minio, bucket); err != nil {
			return nil, err
		}
		return distributionOnBucket(ctx, dir, minio, bucket)
	}
}

func distributionOnBucket(ctx context.Context, dir string, minio *process, bucket string) (*process, error) {
	return distribution(ctx, dir, fmt.Sprintf(`  s3:
    region: us-east-1
    regionendpoint: http://%s
    forcepathstyle: true
    secure: false
    bucket: %s
    accesskey: %s
    secretkey: %s
  redirect:
    disable: true`, minio.addr, bucket, accessKey, secretKey))
}

func distribution(ctx context.Context, dir, storage string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	yml := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n%s\nhttp:\n  addr: %s\n", storage, addr)
	if err := os.WriteFile(config, []byte(yml), 0o644); err != nil {
		return nil, err
	}
	return spawn(ctx, dir, addr, "http://"+addr+"/v2/", []string{"OTEL_TRACES_EXPORTER=none"}, "registry", "serve", config)
}
