package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

func TestCompletingPartsOfOneSizeMovesNoBytes(t *testing.T) {
	dir := t.TempDir()
	one, two := openTest(t, dir), openTest(t, dir) // as two processes
	id, err := one.CreateMultipart(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]bucket.Part, 4)
	data := strings.Repeat("x", 100<<10)
	for _, n := range []int{1, 3, 2, 4} {
		b, part := one, data
		if n%2 == 0 {
			b = two
		}
		if n == 4 {
			part = "the end"
		}
		parts[n-1], err = b.PutPart(t.Context(), "a", id, n, strings.NewReader(part), int64(len(part)))
		if err != nil {
			t.Fatal(err)
		}
	}
	main := inode(t, filepath.Join(dir, multipartDir, id, mainName))
	if _, err := two.CompleteMultipart(t.Context(), "a", id, parts, bucket.Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if object := inode(t, filepath.Join(dir, "a@")); object != main {
		t.Error("the object is another file than its parts were written to")
	}
	have, err := os.ReadFile(filepath.Join(dir, "a@"))
	if err != nil || string(have) != strings.Repeat(data, 3)+"the end" {
		t.Errorf("%d bytes, %v", len(have), err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, multipartDir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A writer that the world has given up may wake up again when the object has
// long been completed without it. It must not write into the object.
func TestALateWriterDoesNotReachTheObject(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir)
	id, err := b.CreateMultipart(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int, data string) bucket.Part {
		p, err := b.PutPart(t.Context(), "a", id, n, strings.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one := put(1, "one-")
	reading, goOn, late := make(chan bool), make(chan bool), make(chan error)
	go func() {
		r := &stuckReader{Reader: bytes.NewReader([]byte("XXXX")), reading: reading, goOn: goOn}
		_, err := b.PutPart(t.Context(), "a", id, 2, r, 4)
		late <- err
	}()
	<-reading
	two := put(2, "two-") // by someone who takes over
	info, err := b.CompleteMultipart(t.Context(), "a", id, []bucket.Part{one, two}, bucket.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if err := <-late; !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("the late writer: %v", err)
	}
	have, err := os.ReadFile(filepath.Join(dir, "a@"))
	if err != nil || string(have) != "one-two-" || info.Size != 8 {
		t.Errorf("%q, %v", have, err)
	}
}

// A stuckReader tells that it is read and waits before it answers.
type stuckReader struct {
	*bytes.Reader
	reading, goOn chan bool
}

func (r *stuckReader) Read(p []byte) (int, error) {
	if r.reading != nil {
		close(r.reading)
		r.reading = nil
		<-r.goOn
	}
	return r.Reader.Read(p)
}

func TestUploadsThatWereGivenUpAreCleared(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir)
	id, err := b.CreateMultipart(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	b.clearUploads(time.Now().Add(abandonedAfter - time.Minute))
	if _, err := b.PutPart(t.Context(), "a", id, 1, strings.NewReader("x"), 1); err != nil {
		t.Errorf("within the time: %v", err)
	}
	b.clearUploads(time.Now().Add(abandonedAfter + time.Minute))
	if _, err := b.PutPart(t.Context(), "a", id, 2, strings.NewReader("x"), 1); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("after it: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, multipartDir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAnIDIsNoPath(t *testing.T) {
	b := openTest(t, t.TempDir())
	for _, id := range []string{"", "..", "../../tmp", "x", strings.Repeat("A", etagSize), strings.Repeat("../", 8) + "xx"} {
		if err := b.AbortMultipart(t.Context(), "a", id); err != nil {
			t.Errorf("abort %q: %v", id, err)
		}
		if _, err := b.PutPart(t.Context(), "a", id, 1, strings.NewReader("x"), 1); !errors.Is(err, bucket.ErrNoUpload) {
			t.Errorf("put part to %q: %v", id, err)
		}
	}
}
