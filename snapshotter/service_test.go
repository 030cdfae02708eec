package snapshotter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/snapshotter"
)

const snapshotsService = "/containerd.services.snapshots.v1.Snapshots/"

// stuck is a snapshotter on a disk that does not answer: its calls do not even
// obey their context.
type stuck struct {
	snapshots.Snapshotter
	until <-chan struct{}
}

func (s stuck) Stat(context.Context, string) (snapshots.Info, error) {
	<-s.until
	return snapshots.Info{}, nil
}

func (s stuck) Remove(context.Context, string) error {
	<-s.until
	return nil
}

func (s stuck) Commit(context.Context, string, string, ...snapshots.Opt) error {
	<-s.until
	return nil
}

func (s stuck) Walk(context.Context, snapshots.WalkFunc, ...string) error {
	<-s.until
	return nil
}

func TestEveryCallIsAnsweredInTime(t *testing.T) {
	socket := socketIn(tempDir(t))
	until := make(chan struct{})
	limits := map[string]time.Duration{}
	for _, method := range []string{"Stat", "Remove", "Commit", "List"} {
		limits[snapshotsService+method] = 50 * time.Millisecond
	}
	stop := serve(snapshotter.Config{Snapshots: stuck{until: until}, Socket: socket, Deadlines: limits, Log: quiet})
	c := client(t, socket)
	_, stat := c.Stat(t.Context(), "key")
	for call, err := range map[string]error{
		"Stat": stat, "Remove": c.Remove(t.Context(), "key"), "Commit": c.Commit(t.Context(), "name", "key"),
		"Walk": c.Walk(t.Context(), func(context.Context, snapshots.Info) error { return nil }),
	} {
		if !errdefs.IsDeadlineExceeded(err) {
			t.Errorf("%s: %v, want ErrDeadlineExceeded", call, err)
		}
	}
	close(until)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// endless walks for ever.
type endless struct{ snapshots.Snapshotter }

func (endless) Walk(ctx context.Context, fn snapshots.WalkFunc, _ ...string) error {
	for {
		if err := fn(ctx, snapshots.Info{Name: strings.Repeat("n", 1000)}); err != nil {
			return err
		}
	}
}

func (endless) Stat(context.Context, string) (snapshots.Info, error) { return snapshots.Info{}, nil }

// A client that asks for a list and does not read it holds nothing up: the call
// ends on the server's side, and others are answered.
func TestAClientThatDoesNotRead(t *testing.T) {
	socket := socketIn(tempDir(t))
	lines := make(logLines, 10)
	stop := serve(snapshotter.Config{Snapshots: endless{}, Socket: socket, Log: slog.New(slog.NewTextHandler(lines, nil)),
		Deadlines: map[string]time.Duration{snapshotsService + "List": 200 * time.Millisecond}})
	conn := dial(t, socket)
	list, err := snapshotsapi.NewSnapshotsClient(conn).List(t.Context(), &snapshotsapi.ListSnapshotsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Recv(); err != nil && status.Code(err) != codes.DeadlineExceeded { // of a busy machine
		t.Fatal(err)
	}
	for line := range lines {
		if strings.Contains(line, "method=List") {
			if !strings.Contains(line, "DeadlineExceeded") {
				t.Errorf("the call ended: %s", line)
			}
			break
		}
	}
	if _, err := client(t, socket).Stat(t.Context(), "key"); err != nil {
		t.Error(err)
	}
	conn.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// logLines gets what is logged, line by line.
type logLines chan string

func (l logLines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default: // nobody looks any more
	}
	return len(b), nil
}

// slow takes its time, but ends.
type slow struct {
	snapshots.Snapshotter
	entered chan struct{}
	leave   chan struct{}
}

func (s slow) Mounts(context.Context, string) ([]mount.Mount, error) {
	close(s.entered)
	<-s.leave
	return nil, nil
}

func TestStoppingLetsCallsFinish(t *testing.T) {
	socket := socketIn(tempDir(t))
	s := slow{entered: make(chan struct{}), leave: make(chan struct{})}
	stop := serve(snapshotter.Config{Snapshots: s, Socket: socket, Log: quiet})
	c := client(t, socket)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := c.Mounts(t.Context(), "key"); err != nil {
			t.Error("a call that was being answered:", err)
		}
	})
	<-s.entered
	group.Go(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	close(s.leave)
	group.Wait()
}

func TestOtherServicesShareTheSocket(t *testing.T) {
	socket := socketIn(tempDir(t))
	stop := serve(snapshotter.Config{Snapshots: stuck{}, Socket: socket, Log: quiet,
		Register: []func(*grpc.Server){func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, health.NewServer()) }}})
	resp, err := grpc_health_v1.NewHealthClient(dial(t, socket)).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || resp.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", resp, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestErrorsKeepTheirClassAcrossTheSocket(t *testing.T) {
	needs.Root(t)
	dir := tempDir(t)
	c := startOverlay(t, filepath.Join(dir, "root"), socketIn(dir))
	ctx := t.Context()
	if _, err := c.Prepare(ctx, "active", ""); err != nil {
		t.Fatal(err)
	}
	_, stat := c.Stat(ctx, "none")
	_, mounts := c.Mounts(ctx, "none")
	_, usage := c.Usage(ctx, "none")
	_, twice := c.Prepare(ctx, "active", "")
	_, long := c.Prepare(ctx, strings.Repeat("k", 40_000), "")
	huge := c.Remove(ctx, strings.Repeat("k", 5<<20)) // more than gRPC takes unless told
	for _, tt := range []struct {
		name string
		err  error
		is   func(error) bool
	}{
		{"Stat", stat, errdefs.IsNotFound},
		{"Mounts", mounts, errdefs.IsNotFound},
		{"Usage", usage, errdefs.IsNotFound},
		{"Remove", c.Remove(ctx, "none"), errdefs.IsNotFound},
		{"Commit", c.Commit(ctx, "name", "none"), errdefs.IsNotFound},
		{"Prepare twice", twice, errdefs.IsAlreadyExists},
		{"Prepare of a key too long", long, errdefs.IsInvalidArgument},
		{"Remove of a key of 5 MiB", huge, errdefs.IsInvalidArgument},
		{"Walk with a filter that is none", c.Walk(ctx, func(context.Context, snapshots.Info) error { return nil }, "=="), errdefs.IsInvalidArgument},
	} {
		if !tt.is(tt.err) {
			t.Errorf("%s: %.200v", tt.name, tt.err)
		}
	}
}

func TestOneLineIsLoggedForEachRequest(t *testing.T) {
	needs.Root(t)
	dir := tempDir(t)
	var log output
	_, stop, err := openAndServeWith(filepath.Join(dir, "root"), socketIn(dir),
		slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, socketIn(dir))
	if _, err := c.Prepare(t.Context(), "a key", ""); err != nil {
		t.Fatal(err)
	}
	_ = c.Remove(t.Context(), "none")
	_ = c.Walk(t.Context(), func(context.Context, snapshots.Info) error { return nil })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Level, Msg, Method, Key, Code, Error string
		Duration                             int64
	}
	var requests []line
	for _, text := range bytes.Split(bytes.TrimSpace([]byte(log.String())), []byte("\n")) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if l.Msg == "request" {
			if l.Duration <= 0 {
				t.Errorf("no duration: %s", text)
			}
			l.Duration = 0
			requests = append(requests, l)
		}
	}
	want := []line{
		{Level: "INFO", Msg: "request", Method: "Prepare", Key: "a key"},
		{Level: "INFO", Msg: "request", Method: "Remove", Key: "none", Code: "NotFound", Error: "remove snapshot none: snapshot none: not found"},
		{Level: "DEBUG", Msg: "request", Method: "List"},
	}
	if len(requests) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(requests), len(want), log.String())
	}
	for i := range want {
		if requests[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", requests[i], want[i])
		}
	}
}

func TestSystemdIsToldWhenTheServiceIsReady(t *testing.T) {
	dir := tempDir(t)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	receive := func() string {
		b := make([]byte, 100)
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	stop := serve(snapshotter.Config{Snapshots: stuck{}, Socket: socketIn(dir), Log: quiet})
	if got := receive(); got != "READY=1" {
		t.Errorf("first %q", got)
	}
	err = stop()
	if got := receive(); got != "STOPPING=1" || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("then %q, %v", got, err)
	}
}
