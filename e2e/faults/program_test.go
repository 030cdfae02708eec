package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/client/transfer"
)

// moved is what `lamina push -o json` and `lamina pull -o json` say of it.
type moved struct {
	Blobs     int   `json:"blobs"`
	Moved     int   `json:"movedBlobs"`
	MovedSize int64 `json:"movedSize"`
}

// run runs the program, and returns what it printed.
func run(cmd *exec.Cmd) (m moved, err error) {
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err = cmd.Run(); err == nil {
		err = json.Unmarshal(out.Bytes(), &m)
	}
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s%s", cmd.Args, err, &out, &said)
	}
	return m, err
}

func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lamina(t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// `lamina push` and `lamina pull` that are killed are simply run again: what had
// arrived is not sent twice. A server that is killed meanwhile they outlive.
func TestProgramsAndServersAreKilled(t *testing.T) {
	t.Parallel()
	s := serve(t, "file://"+t.TempDir())
	n := newNetwork(t, s.grpc)
	c := dial(t, s.grpc)
	i := newImage("by the program", layersOf(60, 3<<20, 3<<20, 3<<20, 3<<20)...)
	ref := "faults/program:1"
	slow := func() {
		for _, way := range []string{"upstream", "downstream"} {
			n.poison(t, toxic{"bandwidth", way, map[string]any{"rate": 4000}}) // KB/s
		}
	}
	push := func() *exec.Cmd {
		return command(t, "push", "oci:"+i.layout(t), ref, "--server", n.Addr, "-j", "1", "-o", "json", "--no-wait")
	}
	var layers []digest.Digest
	for d, b := range i.blobs {
		if len(b) > 1<<20 {
			layers = append(layers, d)
		}
	}
	stored := func() int {
		missing, err := c.FindMissing(t.Context(), "faults/program", layers)
		if err != nil {
			t.Fatal(err)
		}
		return len(layers) - len(missing)
	}

	slow()
	killAt(t, push(), "two layers stored", func() bool { return stored() >= 2 })
	n.mend(t)
	had := stored()
	if had == len(layers) {
		t.Fatal("it was killed too late")
	}
	again := push()
	slow()
	var m moved
	done := make(chan error, 1)
	go func() {
		var err error
		m, err = run(again)
		done <- err
	}()
	// In the middle of the third layer or after it: the server goes, and comes back.
	eventually(t, "another layer", func() bool { return stored() > had })
	s.kill()
	s.begin(t)
	if err := s.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if m.Moved > m.Blobs-had {
		t.Errorf("%d of %d blobs moved, %d had been there", m.Moved, m.Blobs, had)
	}
	n.mend(t)

	dir := filepath.Join(t.TempDir(), "pulled")
	pull := func() *exec.Cmd {
		return command(t, "pull", ref, "oci:"+dir, "--server", n.Addr, "-j", "1", "-o", "json")
	}
	arrived := func() (n int) {
		for _, d := range layers {
			if _, err := os.Stat(filepath.Join(dir, "blobs/sha256", d.Encoded())); err == nil {
				n++
			}
		}
		return n
	}
	slow()
	killAt(t, pull(), "two layers pulled", func() bool { return arrived() >= 2 })
	n.mend(t)
	had = arrived()
	if m, err := run(pull()); err != nil || m.Moved > m.Blobs-had {
		t.Errorf("%d of %d blobs moved, %d had been there: %v", m.Moved, m.Blobs, had, err)
	}
	src, err := transfer.Open(t.Context(), transfer.Location{Kind: transfer.OCI, Path: dir}, transfer.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := transfer.Copy(t.Context(), arrival{i}, src, transfer.Options{}); err != nil {
		t.Error(err)
	}
}

// killAt runs cmd until so says yes, and kills it.
func killAt(t testing.TB, cmd *exec.Cmd, what string, so func() bool) {
	t.Helper()
	var said tail
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	eventually(t, what, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended before: %s", fmt.Sprint(cmd.Args), &said)
		default:
		}
		return so()
	})
	_ = cmd.Process.Kill()
	<-ended
}
