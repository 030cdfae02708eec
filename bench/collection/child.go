package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/usage"
)

// A childTask is one cycle.
type childTask struct {
	Bucket string
	Temp   string
	After  time.Duration // the clock is that far ahead
	DryRun bool
}

// A childResult is what it took.
type childResult struct {
	Report collect.Report
	Calls  count.Calls
	Took   time.Duration
	Peak   int64 // bytes: VmHWM of the process
}

// An ahead clock is ahead of the machine's.
type ahead struct {
	blobstore.SystemClock
	by time.Duration
}

func (c ahead) Now() time.Time { return c.SystemClock.Now().Add(c.by) }

// spawnChild runs a cycle in a process of its own.
func spawnChild(ctx context.Context, t childTask) (r childResult, err error) {
	task, err := json.Marshal(t)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "-child", string(task))
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return r, err
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// runChild does the task, as a server would, and prints the result.
func runChild(ctx context.Context, task string) error {
	var t childTask
	if err := json.Unmarshal([]byte(task), &t); err != nil {
		return err
	}
	b, err := open.Bucket(ctx, t.Bucket)
	if err != nil {
		return err
	}
	counted := count.New(b)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := blobstore.New(counted.Whole(), blobstore.Options{Clock: ahead{by: t.After}, Logger: quiet})
	im := images.New(s, nil, images.Options{Logger: quiet})
	u := usage.New(s, usage.Options{Logger: quiet, Temp: t.Temp})
	c := collect.New(s, im, fleet.New(s, im), collect.Options{Logger: quiet, Temp: t.Temp, Tally: u.Tally, Holder: "bench"})
	began := time.Now()
	report, err := c.Run(ctx, collect.RunOptions{DryRun: t.DryRun})
	if err != nil {
		return err
	}
	r := childResult{Report: report, Calls: counted.Snapshot(), Took: time.Since(began)}
	if r.Peak, err = peak(); err != nil {
		return err
	}
	if err := s.Close(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// peak is the most memory that this process has had, in bytes.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kb, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/self/status has no VmHWM: %w", err)
	}
	return n << 10, nil
}
