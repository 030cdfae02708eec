package server_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/retain"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// heard is a log that tells of the lines with one text.
type heard struct {
	slog.Handler
	text string
	came chan slog.Record
}

func hear(t *testing.T, text string) *heard {
	return &heard{slog.NewTextHandler(t.Output(), nil), text, make(chan slog.Record, 100)}
}

func (h *heard) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.text {
		select {
		case h.came <- r:
		default:
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h *heard) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &heard{h.Handler.WithAttrs(attrs), h.text, h.came}
}

// On a patientClock whoever sleeps does so until somebody receives from woken.
type patientClock struct {
	blobstore.SystemClock
	woken chan struct{}
}

func (c *patientClock) Sleep(ctx context.Context, _ time.Duration) error {
	select {
	case c.woken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A server collects by itself when it is time, says so in its log and its metrics,
// and another server of the bucket knows of it.
func TestCollectionBySchedule(t *testing.T) {
	b := memory.New(memory.Options{})
	begins, ended := hear(t, "collection begins"), hear(t, "collected what nothing names")
	begins.Handler = ended
	clock := &patientClock{woken: make(chan struct{})}
	s := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{
		Logger: slog.New(begins), Collect: server.Collect{Every: time.Hour}, Store: blobstore.Options{Clock: clock},
	}})
	<-clock.woken
	<-begins.came
	<-ended.came
	last := func(s *servertest.Server) *pb.CollectionReport {
		t.Helper()
		out, err := pb.NewMaintenanceClient(s.Conn).LastCollection(t.Context(), &pb.MaintenanceLastCollectionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return out.Report
	}
	if r := last(s); r == nil || r.Error != "" || r.EndedAt == nil || r.Holder == "" {
		t.Errorf("%v", r)
	}
	_, page := get(t, "http://"+s.Metrics+"/metrics")
	for _, want := range []string{"lamina_collection_every_seconds 3600", "lamina_collection_running 0", "lamina_collection_last_failed 0"} {
		if !strings.Contains(page, "\n"+want+"\n") {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if strings.Contains(page, "\nlamina_collection_last_timestamp_seconds 0\n") {
		t.Error("the metrics know of no collection")
	}
	// It was not long ago: another server has nothing to do.
	other := hear(t, "collection begins")
	clock = &patientClock{woken: make(chan struct{})}
	o := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{
		Logger: slog.New(other), Collect: server.Collect{Every: time.Hour}, Store: blobstore.Options{Clock: clock},
	}})
	<-clock.woken
	<-clock.woken // it has looked, and waits for the next time
	if last(o) == nil || len(other.came) > 0 {
		t.Errorf("%d cycles on another server", len(other.came))
	}
}

// Rules that cannot be used keep a server from starting.
func TestRetentionRulesAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "retention.toml")
	run := func(text string) error {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		return server.RunOn(ctx, memory.New(memory.Options{}), server.Config{
			HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", Metrics: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
			Collect: server.Collect{Every: -1, Retention: file}, OnReady: func(server.Ready) { cancel() },
		})
	}
	if err := run("[[rules]]\nrepositories = [\"ci/**\"]\nkeep-last = 0\n"); !errors.Is(err, retain.ErrConfig) {
		t.Errorf("%v", err)
	}
	if err := run("[[rules]]\nrepositories = [\"ci/**\"]\nkeep-last = 3\n"); err != nil {
		t.Errorf("%v", err)
	}
}

func TestTimesThatAreNotSafe(t *testing.T) {
	for says, c := range map[string]struct {
		store   blobstore.Options
		collect server.Collect
	}{
		"":                     {blobstore.Options{Grace: 4 * time.Hour, Drain: 2 * time.Hour}, server.Collect{Every: -1}},
		"--grace":              {blobstore.Options{Grace: time.Hour}, server.Collect{}},
		"--drain":              {blobstore.Options{Drain: time.Hour}, server.Collect{}},
		"--collect-every":      {blobstore.Options{}, server.Collect{Every: time.Second}},
		"--collect-full-every": {blobstore.Options{}, server.Collect{FullEvery: time.Second}},
	} {
		err := server.CheckTimes(c.store, c.collect)
		if says == "" && err != nil || says != "" && (!errors.Is(err, server.ErrTimes) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
