package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
	"github.com/laminastore/lamina/internal/failpoint"
)

// childEnv makes the test binary do one of these in the folder that is its
// argument, instead of running tests.
const childEnv = "LAMINA_FILE_TEST_CHILD"

var children = map[string]func(ctx context.Context, b *Bucket) error{
	"increment": func(ctx context.Context, b *Bucket) error {
		for range 25 {
			if err := buckettest.Increment(ctx, b, "counter"); err != nil {
				return err
			}
		}
		return nil
	},
	"stuck": func(ctx context.Context, b *Bucket) error {
		_, err := b.Put(ctx, "stuck", new(stuck), 1<<20, bucket.Condition{})
		return err
	},
	"put": func(ctx context.Context, b *Bucket) error {
		_, err := b.Put(ctx, "a", strings.NewReader("new"), 3, bucket.Condition{})
		return err
	},
	"multipart": func(ctx context.Context, b *Bucket) error {
		return multipart(ctx, b, "a", bucket.Condition{})
	},
	"spool": func(ctx context.Context, b *Bucket) error {
		s, err := b.Spool(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = io.WriteString(s, "new")
		var id string
		var parts []bucket.Part
		if err == nil {
			id, parts, err = s.Parts(ctx, "a", 2, true)
		}
		if err = errors.Join(err, s.Close()); err == nil {
			_, err = b.CompleteMultipart(ctx, "a", id, parts, bucket.Condition{})
		}
		return err
	},
	"multipart new": func(ctx context.Context, b *Bucket) error {
		return multipart(ctx, b, "b", bucket.Condition{IfAbsent: true})
	},
}

func multipart(ctx context.Context, b *Bucket, key string, cond bucket.Condition) error {
	id, err := b.CreateMultipart(ctx, key)
	if err != nil {
		return err
	}
	part, err := b.PutPart(ctx, key, id, 1, strings.NewReader("new"), 3)
	if err != nil {
		return err
	}
	_, err = b.CompleteMultipart(ctx, key, id, []bucket.Part{part}, cond)
	return err
}

// A stuck reader says when half of its megabyte has been read, and then waits.
type stuck struct{ given int }

func (*stuck) Seek(int64, int) (int64, error) { return 0, nil }

func (s *stuck) Read(p []byte) (int, error) {
	if s.given >= 1<<19 {
		fmt.Println("half")
		select {}
	}
	s.given += len(p)
	return len(p), nil
}

func TestMain(m *testing.M) {
	if do, ok := children[os.Getenv(childEnv)]; ok {
		b, err := Open(os.Args[1], Options{})
		if err == nil {
			err = do(context.Background(), b)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, what, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+what)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestSeveralProcessesLoseNoIncrement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openTest(t, dir)
	put(t, b, "counter", "0")
	var running []*exec.Cmd
	for range 4 {
		cmd := child(t, "increment", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for range 25 {
		if err := buckettest.Increment(t.Context(), b, "counter"); err != nil {
			t.Error(err)
		}
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if have := read(t, b, "counter"); have != strconv.Itoa(5*25) {
		t.Errorf("counted to %s", have)
	}
}

func read(t *testing.T, b *Bucket, key string) string {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAWriterKilledInMidPutLeavesNothingVisible(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openTest(t, dir)
	cmd := child(t, "stuck", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "half\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if have := keys(t, b); have != nil {
		t.Errorf("visible: %q", have)
	}
	left, err := os.ReadDir(filepath.Join(dir, tempDir))
	if err != nil || len(left) != 1 {
		t.Fatalf("temporary files: %v, %v: the child was not in mid-put", left, err)
	}
	put(t, b, "stuck", "done by another")
}

// Whatever step a process dies at, the object is the old one or the new one,
// and others go on.
func TestAProcessKilledAtAnyStepIsNoObstacle(t *testing.T) {
	t.Parallel()
	points := slices.DeleteFunc(failpoint.Names(), func(n string) bool { return !strings.HasPrefix(n, "file-") })
	if len(points) < 5 {
		t.Fatalf("steps: %q", points)
	}
	for _, what := range []string{"put", "multipart", "spool"} {
		for _, point := range points {
			if what == "put" && point == "file-before-remove-upload" || what != "spool" && point == "file-before-adopt" {
				continue
			}
			t.Run(what+"/"+point, func(t *testing.T) {
				dir := t.TempDir()
				b := openTest(t, dir)
				put(t, b, "a", "old")
				cmd := child(t, what, dir, failpoint.Env+"="+point)
				cmd.Stderr = new(bytes.Buffer)
				_ = cmd.Run()
				if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
					t.Fatalf("the child was not killed: %v: %s", cmd.ProcessState, cmd.Stderr)
				}
				if have := read(t, b, "a"); have != "old" && have != "new" {
					t.Errorf("a is %q", have)
				}
				if unsettled, err := b.locks.unsettled(keyStripe("a")); unsettled || err != nil {
					t.Errorf("what was read may not be on disk: %v", err)
				}
				put(t, b, "a", "newer")
				if have := read(t, b, "a"); have != "newer" {
					t.Errorf("a is %q", have)
				}
				if have := keys(t, b); !slices.Equal(have, []string{"a"}) {
					t.Errorf("visible: %q", have)
				}
			})
		}
	}
}

// When a process dies after it has made an object of an upload, and before it
// has removed the upload, nothing that is put into the upload may reach the
// object.
func TestAnUploadThatHasBecomeAnObjectIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	for what, key := range map[string]string{"multipart": "a", "multipart new": "b"} {
		dir := t.TempDir()
		b := openTest(t, dir)
		cmd := child(t, what, dir, failpoint.Env+"=file-before-remove-upload")
		cmd.Stderr = new(bytes.Buffer)
		_ = cmd.Run() // it is killed
		left, err := os.ReadDir(filepath.Join(dir, multipartDir))
		if err != nil || len(left) != 1 {
			t.Fatalf("uploads left: %v, %v: %s", left, err, cmd.Stderr)
		}
		for n := range 3 {
			_, _ = b.PutPart(t.Context(), key, left[0].Name(), n+1, strings.NewReader("XXX"), 3)
		}
		if have := read(t, b, key); have != "new" {
			t.Errorf("%s is %q", key, have)
		}
	}
}
