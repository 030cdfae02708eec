package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/internal/needs"
	"github.com/laminastore/lamina/internal/treetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// mounted is what runc mounts into a container.
var mounted = []string{"dev", "proc", "run", "sys"}

// Whatever kind of file a container wrote, another host without Lamina sees the
// same, and other clients take the image for one like any other.
func TestEveryKindOfFileIsCarriedOver(t *testing.T) {
	needs.Commands(t, "crane", "skopeo")
	s := startServer(t)
	a, b := startHost(t, s), startHost(t, s)
	c := a.Run(t, "web-1", a.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1", Layers: []map[string]string{
		{"app/a": "1", "app/d/x": "1", "app/d/y": "1", "app/f/z": "1", "etc/conf": "1"}, {"app/d/w": "2", "app/g/h": "2"},
	}}), "lamina"))
	c.Exec(t, "sh", "-c", `cd /app; rm a; rm -r d; mkdir d; echo 2 >d/new; rm -r f; echo file >f; rm g/h; mkdir g/h
		echo l >l1; ln l1 l2; ln -s l1 s; ln s s2; chmod 6711 l1; chown 12:34 d s; mkfifo p; chmod 1777 g
		dd if=/dev/zero of=sparse bs=1 count=1 seek=3000000; cp /bin/busybox copy; touch -d '2001-02-03 04:05:06' copy; chmod 700 /etc; chown 0:0 /etc/conf`)
	root := fmt.Sprintf("/proc/%d/root", c.Pid())
	odd := root + "/app/odd \xff\n"
	must(t, errors.Join(
		os.WriteFile(odd, []byte("odd"), 0o644),
		unix.Setxattr(odd, "user.attr", []byte("\x00value"), 0),
		unix.Setxattr(odd, "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
		unix.Setxattr(root+"/app/g", "user.on.folder", []byte("v"), 0),
		unix.Mknod(root+"/app/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(root+"/app/disk", unix.S_IFBLK|0o640, int(unix.Mkdev(259, 70000)))))
	l, err := net.Listen("unix", root+"/app/sock")
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	res := a.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: s.HTTP + "/demo/saved:1"})
	if len(res.Skipped) != 1 || !strings.Contains(res.Skipped[0], "/app/sock") || len(res.Altered) != 0 {
		t.Errorf("skipped %q, altered %q", res.Skipped, res.Altered)
	}
	want := treetest.Read(t, root, append([]string{"app/sock"}, mounted...)...)

	ref := s.HTTP + "/demo/saved:1"
	again := b.RunOn(t, "overlayfs", "again", b.pull(t, ref, "overlayfs"))
	got := treetest.Read(t, fmt.Sprintf("/proc/%d/root", again.Pid()), mounted...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +carried over):\n%s", diff)
	}
	command(t, "crane", "validate", "--insecure", "--remote", ref)
	if out := command(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+ref); !strings.Contains(out, res.Snapshot.Diff.Digest) {
		t.Errorf("skopeo says %s", out)
	}
	if out := command(t, "crane", "config", "--insecure", ref); !strings.Contains(out, "lamina commit web-1") {
		t.Errorf("config %s", out)
	}

	// The same again is the same layer, which is not sent again.
	same := a.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: s.HTTP + "/demo/saved:2"})
	if same.Snapshot.Diff.Digest != res.Snapshot.Diff.Digest || same.Snapshot.Id == res.Snapshot.Id {
		t.Errorf("the same container gave another layer: %v, then %v", res.Snapshot.Diff, same.Snapshot.Diff)
	}
}

// A server that takes connections and never answers: containers start, run, are
// listed and stop as if it were not there; when it is back it is told how things
// are now, and not how they were.
func TestAServerThatDoesNotAnswerHoldsUpNothing(t *testing.T) {
	s := startServer(t)
	g := newGate(t, s.GRPC)
	h := startHostAt(t, g.Addr().String())
	img := h.Import(t, containerdtest.Image{Name: "example.org/app:1"})
	for _, id := range []string{"one", "two"} {
		h.Run(t, id, img)
	}
	gone := h.Run(t, "gone", img)
	if got := gone.Exec(t, "echo", "runs"); got != "runs\n" {
		t.Errorf("the container says %q", got)
	}
	if n, err := h.node.List(t.Context()); err != nil || len(n.Containers) != 3 {
		t.Errorf("the node lists %v, %v", n, err)
	}
	if got := h.diff(t, "gone"); !strings.Contains(got, "A /proc") {
		t.Errorf("diff %q", got)
	}
	gone.Stop(t)
	gone.Remove(t)
	g.Open()
	c, err := client.Dial(s.GRPC, client.Options{})
	must(t, err)
	defer c.Close()
	eventually(t, "the report", func() bool {
		var seen []string
		for n, err := range c.Nodes(t.Context(), "") {
			must(t, err)
			for _, x := range n.Containers {
				seen = append(seen, x.Id)
			}
		}
		return strings.Join(seen, " ") == "one two"
	})
}

// The image has been taken away and collected while its container runs: what the
// server has of it is enough.
func TestCommitWithoutTheImage(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	ref := pushImage(t, s, containerdtest.Image{Name: "demo/app:1", Layers: []map[string]string{{"file": "1"}}})
	c := h.Run(t, "web-1", h.pull(t, ref, "lamina"))
	c.Exec(t, "sh", "-c", "echo 2 >/file")
	if _, err := h.node.List(t.Context()); err != nil { // it has been seen
		t.Fatal(err)
	}
	h.Ctr(t, "images", "rm", "--sync", ref)
	if left := h.Ctr(t, "content", "ls", "-q"); left != "" {
		t.Fatalf("containerd still has %q", left)
	}
	h.stopAgent()
	h.startAgent(t) // which has never seen it
	h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: s.HTTP + "/demo/saved:1"})
	got := h.Ctr(t, "run", "--rm", "--snapshotter", "lamina", h.pull(t, s.HTTP+"/demo/saved:1", "lamina").Name(), "again", "cat", "/file")
	if got != "2\n" {
		t.Errorf("it sees %q", got)
	}
}

// The server has never seen the image: containerd has it.
func TestCommitOnAnImageFromElsewhere(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	c := h.Run(t, "web-1", h.Import(t, containerdtest.Image{Name: "registry.example/app:1", Layers: []map[string]string{{"file": "1"}}}))
	c.Exec(t, "sh", "-c", "echo 2 >/new")
	ref := s.HTTP + "/demo/saved:1"
	h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: ref})
	other := startHost(t, s)
	got := other.Ctr(t, "run", "--rm", "--snapshotter", "lamina", other.pull(t, ref, "lamina").Name(), "again", "cat", "/file", "/new")
	if got != "12\n" {
		t.Errorf("it sees %q", got)
	}
}

// A container that writes to its files without a pause is committed all the same.
func TestCommitWithoutAPause(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	c := h.Run(t, "web-1", h.pull(t, pushImage(t, s, containerdtest.Image{Name: "demo/app:1"}), "lamina"))
	c.Exec(t, "sh", "-c", "(while :; do date >>/log; mv /log /log2; cp /log2 /log; rm /log2; done) >/dev/null 2>&1 &")
	ref := s.HTTP + "/demo/saved:1"
	for range 5 {
		res := h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: ref, NoPause: true})
		if res.Snapshot.PausedUs != 0 {
			t.Errorf("it stood still for %d µs", res.Snapshot.PausedUs)
		}
		command(t, "crane", "validate", "--insecure", "--remote", ref)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	needs.Commands(t, name)
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// An image of Docker's own format stays one.
func TestCommitOnAnImageOfDockersFormat(t *testing.T) {
	s := startServer(t)
	h := startHost(t, s)
	from := pushImage(t, s, containerdtest.Image{Name: "demo/oci:1", Layers: []map[string]string{{"file": "1"}}})
	base := s.HTTP + "/demo/docker:1"
	command(t, "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2", "docker://"+from, "docker://"+base)
	c := h.Run(t, "web-1", h.pull(t, base, "lamina"))
	c.Exec(t, "sh", "-c", "echo 2 >/new")
	ref := s.HTTP + "/demo/saved:1"
	code, _, says := h.refused(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: ref, Compression: "zstd"})
	if code != codes.FailedPrecondition || !strings.Contains(says, "gzip") {
		t.Errorf("zstd: %v %q", code, says)
	}
	res := h.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: ref})
	const docker = "application/vnd.docker."
	if !strings.HasPrefix(res.Snapshot.Image.MediaType, docker) || !strings.HasPrefix(res.Snapshot.Diff.MediaType, docker) {
		t.Errorf("it has become %s with a layer %s", res.Snapshot.Image.MediaType, res.Snapshot.Diff.MediaType)
	}
	command(t, "crane", "validate", "--insecure", "--remote", ref)
	got := h.Ctr(t, "run", "--rm", "--snapshotter", "overlayfs", h.pull(t, ref, "overlayfs").Name(), "again", "cat", "/file", "/new")
	if got != "12\n" {
		t.Errorf("it sees %q", got)
	}
}
