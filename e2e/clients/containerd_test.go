package clients

import (
	"testing"

	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

// startContainerd starts a containerd whose images are unpacked by its own
// overlayfs.
func startContainerd(t *testing.T) *containerdtest.Host {
	t.Helper()
	return containerdtest.Start(t, containerdtest.Options{})
}

// By containerd's transfer service: the daemon pulls and pushes, as it does for
// nerdctl and for Kubernetes.
func TestContainerdsTransferService(t *testing.T) {
	r, s, h := start(t), makeSamples(t), startContainerd(t)
	s.push(t, r)
	for _, kind := range kinds {
		there := r.ref("from/" + kind + ":1")
		h.Ctr(t, "images", "pull", "--local=false", "--plain-http", "--snapshotter=overlayfs", there)
		image, err := h.Client.GetImage(h.Context(), there)
		if err != nil {
			t.Fatal(err)
		}
		if got := image.Target().Digest; got != s.digests[kind] {
			t.Errorf("%s: pulled %s, pushed was %s", kind, got, s.digests[kind])
		}
		if out := h.Ctr(t, "run", "--rm", "--snapshotter=overlayfs", there, kind, "cat", "/greeting"); out != greeting {
			t.Errorf("%s: a container of it says %q", kind, out)
		}
		// To push an index takes what it names for other platforms, too.
		h.Ctr(t, "images", "pull", "--local=false", "--plain-http", "--all-platforms", "--snapshotter=overlayfs", there)
		h.Ctr(t, "images", "push", "--local=false", "--plain-http", r.ref("to/"+kind+":1"), there)
		r.same(t, "to/"+kind+":1", s.digests[kind])
	}
}
