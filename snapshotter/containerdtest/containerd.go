// Package containerdtest runs real containerds for tests, each with folders, a
// socket and a namespace of its own, beside each other and beside one that the
// machine may have:
//
//	host := containerdtest.Start(t, containerdtest.Options{Snapshotter: socket})
//	image := host.Import(t, containerdtest.Image{Name: "example.org/app:1"})
//	web := host.Run(t, "web", image)
//	web.Exec(t, "sh", "-c", "echo hello >/file")
//
// What a test started is ended with it, also when it failed: containers,
// processes, mounts, control groups.
package containerdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/laminastore/lamina/internal/needs"
)

// Snapshotter is the name under which a containerd knows the proxy plugin.
const Snapshotter = "lamina"

// Options say how a containerd is to run.
type Options struct {
	// Snapshotter is the socket of the snapshotter that it uses; empty: it has
	// its own alone (overlayfs).
	Snapshotter string
	// Config is added to the configuration file, as TOML.
	Config string
	// NetNS is the path of a network namespace to run in, such as
	// /var/run/netns/NAME; empty means that of the test.
	NetNS string
}

// A Host is a running containerd.
type Host struct {
	// Socket is where it listens, for programs that take --address.
	Socket string
	// Namespace is the containerd namespace that the Host's methods use. It is
	// different for each Host.
	Namespace string
	// Client talks to it. Calls need a context of Host.Context.
	Client *containerd.Client

	dir  string
	opts Options
	cmd  *exec.Cmd
	log  *output
	died <-chan error
}

// Start starts a containerd and waits until it answers. The test is skipped
// (in CI: fails) where there is no root, containerd or runc.
func Start(t testing.TB, opts Options) *Host {
	t.Helper()
	needs.Root(t)
	needs.Commands(t, "containerd", "containerd-shim-runc-v2", "runc", "busybox", "nsenter")
	// Short: socket paths have 107 bytes, and shims take 42 for the folder.
	dir, err := os.MkdirTemp("", "lamina-")
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{
		Socket:    filepath.Join(dir, "c.sock"),
		Namespace: filepath.Base(dir),
		dir:       dir,
		opts:      opts,
		log:       &output{},
	}
	t.Cleanup(func() { h.cleanUp(t) })
	if err := os.WriteFile(h.configFile(), h.config(), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+h.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20), grpc.MaxCallSendMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if h.Client, err = containerd.NewWithConn(conn); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h
}

// Context is for calls of the Client.
func (h *Host) Context() context.Context {
	return namespaces.WithNamespace(context.Background(), h.Namespace)
}

// InNamespace is the same containerd, seen from another namespace of its own.
func (h *Host) InNamespace(suffix string) *Host {
	other := *h
	other.Namespace += "-" + suffix
	return &other
}

// Restart ends containerd and starts it again. Containers go on running.
func (h *Host) Restart(t testing.TB) {
	t.Helper()
	h.stop()
	h.start(t)
}

// Pid is the process of containerd.
func (h *Host) Pid() int { return h.cmd.Process.Pid }

// Ctr runs the command-line client on this containerd and returns its output.
func (h *Host) Ctr(t testing.TB, args ...string) string {
	t.Helper()
	needs.Commands(t, "ctr")
	cmd := exec.Command("ctr", append([]string{"--address", h.Socket, "--namespace", h.Namespace}, args...)...)
	var stderr bytes.Buffer // and warnings, also when all is well
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ctr %q: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

func (h *Host) start(t testing.TB) {
	t.Helper()
	command := []string{"containerd", "--config", h.configFile()}
	if h.opts.NetNS != "" {
		// Not `ip netns exec`: that mounts another /sys, and runc finds no cgroups.
		command = append([]string{"nsenter", "--net=" + h.opts.NetNS}, command...)
	}
	h.cmd = exec.Command(command[0], command[1:]...)
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
	defer cancel()
	died := make(chan error, 1)
	go func() {
		died <- h.cmd.Wait()
		cancel()
	}()
	h.died = died
	if serving, err := h.Client.IsServing(ctx); err != nil || !serving {
		t.Fatalf("containerd does not answer: %v\n%s", errors.Join(err, context.Cause(ctx)), h.log)
	}
}

// stop ends containerd and waits for it.
func (h *Host) stop() {
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.died:
	case <-time.After(20 * time.Second):
		_ = h.cmd.Process.Kill()
		<-h.died
	}
	h.cmd = nil
}

func (h *Host) configFile() string { return filepath.Join(h.dir, "config.toml") }

// config is a containerd with nothing in common with others: paths of its own,
// and without what a test of snapshots does not need.
func (h *Host) config() []byte {
	return fmt.Appendf(nil, `version = 4
root = '%[1]s/root'
state = '%[1]s/state'
debug = { level = 'warn' }
disabled_plugins = [
  'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri', 'io.containerd.nri.v1.nri',
  'io.containerd.internal.v1.opt', 'io.containerd.internal.v1.tracing', 'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.snapshotter.v1.blockfile', 'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs', 'io.containerd.snapshotter.v1.zfs', 'io.containerd.differ.v1.erofs',
  'io.containerd.image-verifier.v1.bindir',
]

[plugins.'io.containerd.server.v1.grpc']
  address = '%[2]s'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '%[2]s.ttrpc'
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = '%[1]s/s'

%[4]s
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '%[5]s'
  snapshotter = '%[3]s'
  differ = 'walking'
  optional = true
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '%[5]s'
  snapshotter = 'overlayfs'
  differ = 'walking'
  optional = true

%[6]s
`, h.dir, h.Socket, Snapshotter, h.snapshotter(), platform, h.opts.Config)
}

// snapshotter is the part of config about the proxy plugin.
func (h *Host) snapshotter() string {
	if h.opts.Snapshotter == "" {
		return ""
	}
	return fmt.Sprintf(`[proxy_plugins.%s]
  type = 'snapshot'
  address = '%s'
  platform = '%s'
  [proxy_plugins.%[1]s.exports]
    enable_remote_snapshot_annotations = 'true'
`, Snapshotter, h.opts.Snapshotter, platform)
}

// output is what a process prints, on two streams at once.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
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
