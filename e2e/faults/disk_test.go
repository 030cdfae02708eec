package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/internal/imagetest"
	"github.com/laminastore/lamina/internal/needs"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// smallDisk mounts a filesystem of that size until the test ends.
func smallDisk(t testing.TB, size string) string {
	t.Helper()
	needs.Root(t)
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	needs.That(t, err == nil, "needs to mount a tmpfs")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// free is how many bytes there are left.
func free(t testing.TB, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fill leaves no byte on a disk, and returns what makes room again.
func fill(t testing.TB, dir string) (room func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range []int{1 << 20, 4 << 10, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, n))
		}
		err = nil
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A disk that is full is told as such to whoever pushes. What was acknowledged
// stays, what failed gives its room back, images can be deleted, what nothing
// names is collected, and then there is room again. Nobody does anything for
// that but delete.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "64m")
	v := newVictim(t, settings{Bucket: "file://" + filepath.Join(dir, "bucket"), Times: short})
	v.revive(t)
	c := dial(t, v.grpc)
	l := newLedger(1, 32, nil)
	image := func(i int) *image { return newImage(fmt.Sprint(i), layersOf(uint64(100+i), 9<<20)[0]) }

	full := 0
	for ; full < len(l.tags); full++ {
		before := free(t, dir)
		err := l.push(t.Context(), c, l.tags[full], image(full))
		if err == nil {
			continue
		}
		if status.Code(err) != codes.ResourceExhausted || client.ReasonOf(err) != pb.Reason_REASON_BUCKET_FULL {
			t.Fatalf("push to a full disk: %v", err)
		}
		// An image may have small blobs that it got through with.
		eventually(t, "room given back by what failed", func() bool { return free(t, dir) > before-1<<20 })
		break
	}
	if full < 3 || full == len(l.tags) {
		t.Fatalf("the disk was full after %d images", full)
	}
	if code, body := pushBlob(t, v.http, imagetest.TarOf(99, 32<<20)); code != http.StatusInsufficientStorage || !strings.Contains(body, "full") {
		t.Errorf("push by HTTP: %d %s", code, body)
	}
	l.check(t, c)

	// Not a byte is left, and still one can delete.
	room := fill(t, dir)
	for _, g := range l.tags[:2] {
		if err := l.delete(t.Context(), c, g); err != nil {
			t.Fatal(err)
		}
	}
	l.check(t, c)
	eventually(t, "room made by collection", func() bool { return free(t, dir) > 15<<20 })
	if err := l.push(t.Context(), c, l.tags[full], image(full)); err != nil {
		t.Errorf("push after room was made: %v", err)
	}
	room()
	l.check(t, dial(t, v.grpc))
	if err := v.stop(); err != nil {
		t.Error(err)
	}
}

// pushBlob begins an upload by the registry API and sends it all at once.
func pushBlob(t testing.TB, addr string, data []byte) (int, string) {
	t.Helper()
	resp, err := http.Post("http://"+addr+"/v2/faults/by-http/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return resp.StatusCode, ""
	}
	q := to.Query()
	q.Set("digest", "sha256:"+strings.Repeat("0", 64))
	to.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to.String(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := &bytes.Buffer{}
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}
