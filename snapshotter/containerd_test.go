package snapshotter_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// A node is a containerd with our snapshotter, in a process of its own.
type node struct {
	*containerdtest.Host
	service      *process
	root, socket string
}

func startNode(t *testing.T) *node {
	t.Helper()
	dir := tempDir(t)
	n := &node{root: filepath.Join(dir, "root"), socket: filepath.Join(dir, "s", "sock")}
	n.service = start(t, n.root, n.socket, "")
	n.Host = containerdtest.Start(t, containerdtest.Options{Snapshotter: n.socket})
	return n
}

// snapshots lists what the snapshotter has, by kind.
func (n *node) snapshots(t *testing.T) (committed, active []string) {
	t.Helper()
	err := n.service.Walk(n.service.ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindCommitted {
			committed = append(committed, info.Name)
		} else {
			active = append(active, info.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return committed, active
}

// collect has containerd remove what is no longer needed.
func (n *node) collect(t *testing.T) {
	t.Helper()
	// The lease itself is of no interest: its synchronous end runs the collector.
	lease, err := n.Client.LeasesService().Create(n.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Client.LeasesService().Delete(n.Context(), lease, leases.SynchronousDelete); err != nil {
		t.Fatal(err)
	}
}

var app = containerdtest.Image{
	Name: "example.org/app:1",
	Layers: []map[string]string{
		{"etc/motd": "from the image\n", "app/config": "one\n"},
		{"app/config": "two\n", "app/main": "main\n"},
	},
}

func TestContainersOfOneImage(t *testing.T) {
	n := startNode(t)
	image := n.Import(t, app)
	one, two := n.Run(t, "one", image), n.Run(t, "two", image)

	// What one writes, two does not see.
	one.Exec(t, "sh", "-c", "echo changed >/etc/motd; echo new >/new; rm /app/main; mkdir -p /data/deep; echo x >/data/deep/file")
	if got := one.Exec(t, "cat", "/etc/motd", "/new", "/data/deep/file"); got != "changed\nnew\nx\n" {
		t.Errorf("in one: %q", got)
	}
	if got := two.Exec(t, "cat", "/etc/motd", "/app/config", "/app/main"); got != "from the image\ntwo\nmain\n" {
		t.Errorf("in two: %q", got)
	}
	if out, err := two.TryExec("ls", "/new"); err == nil {
		t.Errorf("two sees the file of one: %q", out)
	}

	// The layers are there once, and each container has one of its own.
	committed, active := n.snapshots(t)
	if len(committed) != 3 || len(active) != 2 {
		t.Errorf("committed %q, active %q", committed, active)
	}
	if folders := list(t, filepath.Join(n.root, "sn")); len(folders) != 5 {
		t.Errorf("folders %q", folders)
	}

	// Removing a container removes its writable layer; the image stays.
	one.Stop(t)
	one.Remove(t)
	n.collect(t)
	committed, active = n.snapshots(t)
	if len(committed) != 3 || len(active) != 1 {
		t.Errorf("after removing one: committed %q, active %q", committed, active)
	}
	if folders := list(t, filepath.Join(n.root, "sn")); len(folders) != 4 {
		t.Errorf("after removing one: folders %q", folders)
	}
	again := n.Run(t, "one", image)
	if got := again.Exec(t, "cat", "/etc/motd"); got != "from the image\n" {
		t.Errorf("in another one: %q", got)
	}
	if got := two.Exec(t, "cat", "/etc/motd"); got != "from the image\n" {
		t.Errorf("in two: %q", got)
	}
}

func TestAContainerKeepsItsFilesWhileItIsStopped(t *testing.T) {
	n := startNode(t)
	c := n.Run(t, "web", n.Import(t, app))
	c.Exec(t, "sh", "-c", "echo kept >/file")
	c.Stop(t)
	n.collect(t)
	c.Start(t)
	if got := c.Exec(t, "cat", "/file", "/app/config"); got != "kept\ntwo\n" {
		t.Errorf("after starting again: %q", got)
	}
}

func TestTheSnapshotterDiesUnderARunningContainer(t *testing.T) {
	n := startNode(t)
	image := n.Import(t, app)
	c := n.Run(t, "web", image)
	c.Exec(t, "sh", "-c", "echo before >/file")

	n.service.kill()
	if got := c.Exec(t, "sh", "-c", "echo without >>/file; cat /file /app/config"); got != "before\nwithout\ntwo\n" {
		t.Errorf("while there is no snapshotter: %q", got)
	}
	n.service = start(t, n.root, n.socket, "")
	if _, active := n.snapshots(t); len(active) != 1 {
		t.Errorf("after the restart: active %q", active)
	}
	if got := c.Exec(t, "cat", "/file", "/app/config"); got != "before\nwithout\ntwo\n" {
		t.Errorf("after the restart: %q", got)
	}
	// containerd finds the new one by itself.
	other := n.Run(t, "other", image)
	if got := other.Exec(t, "cat", "/app/config"); got != "two\n" {
		t.Errorf("in a new container: %q", got)
	}
	c.Stop(t)
	c.Start(t)
	if got := c.Exec(t, "cat", "/file"); got != "before\nwithout\n" {
		t.Errorf("after a restart of the container too: %q", got)
	}
}

func TestContainerdRestarts(t *testing.T) {
	n := startNode(t)
	image := n.Import(t, app)
	n.Run(t, "web", image).Exec(t, "sh", "-c", "echo before >/file")
	n.Restart(t)
	n.collect(t)
	if committed, active := n.snapshots(t); len(committed) != 3 || len(active) != 1 {
		t.Errorf("after the restart: committed %q, active %q", committed, active)
	}
	out := n.Ctr(t, "task", "exec", "--exec-id", "x", "web", "cat", "/file")
	if out != "before\n" {
		t.Errorf("in the container: %q", out)
	}
}

func TestRemovingTheImageRemovesItsLayers(t *testing.T) {
	n := startNode(t)
	image := n.Import(t, app)
	other := app
	other.Name = "example.org/other:1"
	other.Layers = append(slices.Clone(app.Layers), map[string]string{"other": "other"})
	n.Import(t, other)
	if committed, _ := n.snapshots(t); len(committed) != 4 {
		t.Fatalf("two images that share three layers: %q", committed)
	}

	remove := func(name string) {
		t.Helper()
		if err := n.Client.ImageService().Delete(n.Context(), name, images.SynchronousDelete()); err != nil {
			t.Fatal(err)
		}
	}
	remove(other.Name)
	if committed, _ := n.snapshots(t); len(committed) != 3 {
		t.Errorf("without the other image: %q", committed)
	}
	// A container holds its layers, without the image's name.
	c := n.Run(t, "web", image)
	remove(app.Name)
	if got := c.Exec(t, "cat", "/app/config"); got != "two\n" {
		t.Errorf("in the container: %q", got)
	}
	if committed, _ := n.snapshots(t); len(committed) != 3 {
		t.Errorf("under the container: %q", committed)
	}
	c.Stop(t)
	c.Remove(t)
	n.collect(t)
	if committed, active := n.snapshots(t); len(committed)+len(active) != 0 {
		t.Errorf("in the end: committed %q, active %q", committed, active)
	}
	if folders := append(list(t, filepath.Join(n.root, "sn")), list(t, filepath.Join(n.root, "trash"))...); len(folders) != 0 {
		t.Errorf("on disk: %q", folders)
	}
}

// Kubernetes, docker and ctr each have a namespace. A layer is on the host once
// all the same.
func TestNamespacesShareLayers(t *testing.T) {
	n := startNode(t)
	n.Import(t, app)
	other := n.InNamespace("other")
	image := other.Import(t, app)
	c := other.Run(t, "web", image)
	if got := c.Exec(t, "cat", "/app/config"); got != "two\n" {
		t.Errorf("in the other namespace: %q", got)
	}
	if committed, _ := n.snapshots(t); len(committed) != 3 {
		t.Errorf("committed %q", committed)
	}
	// The first one leaves, and takes nothing with it.
	if err := n.Client.ImageService().Delete(n.Context(), app.Name, images.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
	if got := other.Run(t, "web2", image).Exec(t, "cat", "/app/config"); got != "two\n" {
		t.Errorf("when the first namespace is empty: %q", got)
	}
}

// ctr uses containerd's transfer service, as nerdctl and Kubernetes do, which
// unpacks within containerd.
func TestTheTransferServiceUnpacksToLamina(t *testing.T) {
	n := startNode(t)
	out := n.Ctr(t, "image", "import", "--snapshotter", containerdtest.Snapshotter, containerdtest.Archive(t, app))
	if committed, _ := n.snapshots(t); len(committed) != 3 {
		t.Fatalf("committed %q\n%s", committed, out)
	}
	out = n.Ctr(t, "run", "--rm", "--snapshotter", containerdtest.Snapshotter, app.Name, "once", "cat", "/app/config")
	if out != "two\n" {
		t.Errorf("the container printed %q", out)
	}
	n.collect(t)
	if _, active := n.snapshots(t); len(active) != 0 {
		t.Errorf("active %q", active)
	}
}

// A layer that cannot be unpacked leaves nothing behind.
func TestUnpackingIsCalledOff(t *testing.T) {
	n := startNode(t)
	ctx := n.Context()
	key := snapshots.UnpackKeyPrefix + "-1 sha256:abc"
	sn := n.Client.SnapshotService(containerdtest.Snapshotter)
	if _, err := sn.Prepare(ctx, key, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.root, "sn/1/fs/half"), []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sn.Remove(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := sn.Stat(ctx, key); !errdefs.IsNotFound(err) {
		t.Errorf("Stat: %v", err)
	}
	n.collect(t)
	if folders := list(t, filepath.Join(n.root, "sn")); len(folders) != 0 {
		t.Errorf("folders %q", folders)
	}
}

// containerd shows the labels by which it knows what a layer is.
func TestContainerdSeesTheLabelsOfItsLayers(t *testing.T) {
	n := startNode(t)
	n.Import(t, app)
	var refs []string
	err := n.Client.SnapshotService(containerdtest.Snapshotter).Walk(n.Context(), func(_ context.Context, info snapshots.Info) error {
		if ref := info.Labels[snapshots.LabelSnapshotRef]; ref == info.Name && strings.HasPrefix(ref, "sha256:") {
			refs = append(refs, ref)
		}
		return nil
	})
	if err != nil || len(refs) != 3 {
		t.Errorf("refs %q, %v", refs, err)
	}
}
