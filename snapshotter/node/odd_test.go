package node

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// One odd container keeps nobody from knowing the others.
func TestOddContainers(t *testing.T) {
	a, h, c := startAgent(t)
	const lamina = containerdtest.Snapshotter
	h.Ctr(t, "snapshots", "--snapshotter", lamina, "prepare", "making")
	h.Ctr(t, "snapshots", "--snapshotter", lamina, "commit", "by hand", "making")
	h.Ctr(t, "snapshots", "--snapshotter", lamina, "prepare", "odd", "by hand")
	_, err := h.Client.NewContainer(h.Context(), "odd",
		containerd.WithSnapshotter(lamina), containerd.WithSnapshot("odd"), containerd.WithImageName("no\nname "+strings.Repeat("é", 2000)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Client.NewContainer(h.Context(), "foreign", containerd.WithSnapshotter("overlayfs"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.InNamespace("b").Client.NewContainer(h.InNamespace("b").Context(), "no snapshot", containerd.WithSnapshotter(lamina))
	if err == nil {
		t.Fatal("containerd takes an id with a blank")
	}
	deep(t, a, "web-1", h.Namespace)
	c.Exec(t, "sh", "-c", "echo hello >/file")

	n, err := a.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Containers) != 2 || n.Containers[0].Id != "odd" || n.Containers[1].Id != "web-1" {
		t.Fatalf("listed are %v", n.Containers)
	}
	odd, web := n.Containers[0], n.Containers[1]
	if odd.ChainId != "" || len(odd.Image) > 1024 || strings.Contains(odd.Image, "\n") || odd.ImageDigest != "" {
		t.Errorf("the odd one is %v", odd)
	}
	if web.ChainId == "" || web.ImageDigest == "" || web.Labels == nil {
		t.Errorf("the other one is %v", web)
	}
	found, err := a.find(t.Context(), "", "odd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.base(t.Context(), found, nil); !errors.Is(err, errNoBase) || !strings.Contains(err.Error(), "odd") {
		t.Errorf("its image: %v", err)
	}
}

// deep makes folders in a container whose paths no call takes.
func deep(t *testing.T, a *Agent, id, namespace string) {
	t.Helper()
	found, err := a.find(t.Context(), namespace, id)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := a.cfg.Snapshots.Pin(t.Context(), found.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Release()
	fd, err := unix.Open(stack.Upper, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 200)
	for range 30 {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		sub, err := unix.Openat(fd, name, unix.O_PATH, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = sub
	}
	unix.Close(fd)
	t.Cleanup(func() {
		if out, err := exec.Command("rm", "-rf", filepath.Join(stack.Upper, name)).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// What an image was is known after a restart, and forgotten with the container.
func TestImagesAreRemembered(t *testing.T) {
	a, h, c := startAgent(t)
	first, err := a.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Ctr(t, "images", "rm", "--sync", "example.org/app:1")
	again := func(a *Agent) string {
		t.Helper()
		n, err := a.Node(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Containers) != 1 {
			return ""
		}
		return n.Containers[0].ImageDigest
	}
	want := first.Containers[0].ImageDigest
	b, err := New(a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if want == "" || again(a) != want || again(b) != want || b.ID() != a.ID() {
		t.Errorf("%q, then %q, after a restart %q", want, again(a), again(b))
	}
	if err := os.WriteFile(a.imagesFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := a.cfg
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	broken, err := New(cfg)
	if err != nil {
		t.Fatalf("a damaged file: %v", err)
	}
	defer broken.Close()
	if got := again(broken); got != "" {
		t.Errorf("from a damaged file: %q", got)
	}
	c.Stop(t)
	c.Remove(t)
	if again(b) != "" || len(b.images) != 0 {
		t.Errorf("after the container has gone: %v", b.images)
	}
}
