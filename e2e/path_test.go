package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

func startServer(t *testing.T) *servertest.Server {
	return servertest.Start(t, servertest.Options{Config: server.Config{Bucket: "file://" + t.TempDir()}})
}

func pushImage(t *testing.T, s *servertest.Server, img containerdtest.Image) (ref string) {
	t.Helper()
	ref = s.HTTP + "/" + img.Name
	r, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r, containerdtest.Build(t, img)); err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestTheWholePath(t *testing.T) {
	s := startServer(t)
	a, b := startHost(t, s), startHost(t, s)
	app := pushImage(t, s, containerdtest.Image{Name: "demo/app:1", Layers: []map[string]string{
		{"app/config": "old", "app/gone": "x", "app/dir/one": "1", "app/dir/two": "2"}, {"app/readme": "hello"},
	}})
	img := a.pull(t, app, "lamina")
	one, two := a.Run(t, "web-1", img), a.Run(t, "web-2", img)

	// Two containers never see each other's writes.
	one.Exec(t, "sh", "-c", "echo one >/app/who; echo new >/app/config; rm /app/gone; rm -r /app/dir; mkdir /app/dir; echo 3 >/app/dir/three; ln /app/who /app/same; chmod 4711 /app/readme")
	two.Exec(t, "sh", "-c", "echo two >/app/who")
	if got := one.Exec(t, "cat", "/app/who"); got != "one\n" {
		t.Errorf("web-1 sees %q", got)
	}
	if got := two.Exec(t, "cat", "/app/config"); got != "old" {
		t.Errorf("web-2 sees %q", got)
	}
	const want = "C /app\nC /app/config\nC /app/dir\nA /app/dir/three\nD /app/dir/one\nD /app/dir/two\nD /app/gone\nC /app/readme\nA /app/same\nA /app/who\n" +
		"A /dev\nA /proc\nA /run\nA /sys\n" // runc makes the folders it mounts on
	if got := a.diff(t, "web-1"); sorted(got) != sorted(want) {
		t.Errorf("diff:\n%s", got)
	}

	// The server knows who runs what.
	c, err := client.Dial(s.GRPC, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	listed := func() string {
		var out []string
		for n, err := range c.Nodes(t.Context(), a.agent.ID()) {
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range n.Containers {
				out = append(out, fmt.Sprint(x.Id, " ", x.Image, " ", x.State))
			}
		}
		return strings.Join(out, "\n")
	}
	both := "web-1 " + app + " CONTAINER_STATE_RUNNING\nweb-2 " + app + " CONTAINER_STATE_RUNNING"
	eventually(t, "both containers in the list", func() bool { return listed() == both })

	// What one wrote goes on on the other host, and on one without Lamina.
	saved := s.HTTP + "/demo/web-1:saved"
	res := a.commit(t, &pb.ContainersCommitRequest{Container: "web-1", Reference: saved, Message: "after the import", Changes: []string{"ENV SAVED=yes"}})
	if res.Snapshot.PausedUs <= 0 {
		t.Error("it is not said how long the container stood still")
	}
	if got := one.Exec(t, "cat", "/app/who"); got != "one\n" {
		t.Errorf("web-1 does not go on: %q", got)
	}
	for _, kind := range []string{"lamina", "overlayfs"} {
		img := b.pull(t, saved, kind)
		got := b.Ctr(t, "run", "--rm", "--snapshotter", kind, img.Name(), "again-"+kind, "sh", "-c",
			"cat /app/who /app/config /app/same; ls /app /app/dir; stat -c %a:%h /app/readme /app/who; echo $SAVED")
		if want := "one\nnew\none\n/app:\nconfig\ndir\nreadme\nsame\nwho\n\n/app/dir:\nthree\n4711:1\n644:2\nyes\n"; got != want {
			t.Errorf("%s: it sees\n%s", kind, got)
		}
	}
	r, err := name.ParseReference(saved, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	made, err := remote.Image(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(made); err != nil {
		t.Errorf("other clients do not take the image: %v", err)
	}

	// A container takes its layer and its entry with it; image and diff stay.
	one.Stop(t)
	one.Remove(t)
	left := "web-2 " + app + " CONTAINER_STATE_RUNNING"
	eventually(t, "the removed container gone from the list", func() bool { return listed() == left })
	snap, err := c.Snapshot(t.Context(), res.Snapshot.Id)
	if err != nil || snap.Container.GetId() != "web-1" || snap.NodeId != a.agent.ID() {
		t.Errorf("the registered diff: %v, %v", snap, err)
	}
	if _, err := c.Resolve(t.Context(), "demo/web-1", reference.Locator{Tag: "saved"}, ""); err != nil {
		t.Error(err)
	}
	if got := two.Exec(t, "cat", "/app/readme"); got != "hello" {
		t.Errorf("web-2 has lost the image: %q", got)
	}
}

func sorted(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		for j := i; j > 0 && lines[j] < lines[j-1]; j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return strings.Join(lines, "\n")
}

// Each commit is the next one's image: twenty layers that each remember.
func TestCommitOfACommit(t *testing.T) {
	s := startServer(t)
	hosts := []*host{startHost(t, s), startHost(t, s)}
	ref := pushImage(t, s, containerdtest.Image{Name: "demo/deep:0", Layers: []map[string]string{{"base": "0"}}})
	const deep = 20
	for i := 1; i <= deep; i++ {
		h := hosts[i%2]
		id := fmt.Sprint("deep-", i)
		c := h.Run(t, id, h.pull(t, ref, "lamina"))
		c.Exec(t, "sh", "-c", fmt.Sprintf("echo %d >>/log; echo %d >/only-%d; rm -f /only-%d", i, i, i, i-2))
		ref = fmt.Sprintf("%s/demo/deep:%d", s.HTTP, i)
		h.commit(t, &pb.ContainersCommitRequest{Container: id, Reference: ref})
		c.Stop(t)
		c.Remove(t)
	}
	h := hosts[0]
	img := h.pull(t, ref, "overlayfs")
	got := h.Ctr(t, "run", "--rm", "--snapshotter", "overlayfs", img.Name(), "end", "sh", "-c", "wc -l </log; ls -d /only-* | wc -l; cat /base")
	if strings.Join(strings.Fields(got), " ") != "20 2 0" {
		t.Errorf("after %d commits: %q", deep, got)
	}
}
