package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/snapshotter/containerdtest"
)

const (
	heavySize = 12 << 20
	killAfter = 4 << 20 // bytes of it
)

// killedInMidLayer starts cmd on the way s, and kills it when nothing comes
// through there any more.
func killedInMidLayer(t *testing.T, s *stall, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case <-s.reached:
		_ = cmd.Process.Kill()
		<-exited
	case err := <-exited:
		t.Fatalf("%q ended before the layer was half there: %v", cmd.Args, err)
	}
	s.mend()
}

func TestAClientKilledInMidPushPushesAgain(t *testing.T) {
	dir, d := heavy(t, heavySize)
	for program, args := range map[string]func(to string) []string{
		"skopeo": func(to string) []string {
			return []string{"--insecure-policy", "copy", "--dest-tls-verify=false", "oci:" + dir + ":heavy", "docker://" + to}
		},
		"crane": func(to string) []string { return []string{"push", dir, to} },
		"oras": func(to string) []string {
			return []string{"cp", "--from-oci-layout", "--to-plain-http", dir + ":heavy", to}
		},
		"regctl": func(to string) []string { return []string{"image", "copy", "ocidir://" + dir + ":heavy", to} },
	} {
		t.Run(program, func(t *testing.T) {
			r := start(t)
			s := stallAfter(t, r, killAfter, true)
			c := the(t, program)
			if program == "regctl" {
				c = theRegctl(t, s.at)
			}
			to := args(s.ref("killed/" + program + ":1"))
			killedInMidLayer(t, s, c.command(to...))
			c.run(t, to...)
			r.same(t, "killed/"+program+":1", d)
		})
	}
}

func TestAClientKilledInMidPullPullsAgain(t *testing.T) {
	from, d := heavy(t, heavySize)
	r := start(t)
	the(t, "crane").run(t, "push", from, r.ref("from/heavy:1"))
	for program, args := range map[string]func(from, dir string) []string{
		"skopeo": func(from, dir string) []string {
			return []string{"--insecure-policy", "copy", "--src-tls-verify=false", "docker://" + from, "oci:" + dir + ":1"}
		},
		"crane": func(from, dir string) []string { return []string{"pull", "--format=oci", from, dir} },
		"oras": func(from, dir string) []string {
			return []string{"cp", "--from-plain-http", "--to-oci-layout", from, dir + ":1"}
		},
		"regctl": func(from, dir string) []string { return []string{"image", "copy", from, "ocidir://" + dir + ":1"} },
	} {
		t.Run(program, func(t *testing.T) {
			s := stallAfter(t, r, killAfter, false)
			c := the(t, program)
			if program == "regctl" {
				c = theRegctl(t, s.at)
			}
			dir := filepath.Join(t.TempDir(), "pulled")
			pull := args(s.ref("from/heavy:1"), dir)
			killedInMidLayer(t, s, c.command(pull...))
			c.run(t, pull...)
			complete(t, dir, d)
		})
	}
}

// complete says that an OCI layout has the manifest d and what it names.
func complete(t *testing.T, dir string, d digest.Digest) {
	t.Helper()
	read := func(d digest.Digest) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(b); got != d {
			t.Errorf("%s has the bytes of %s", d, got)
		}
		return b
	}
	var m manifest
	if err := json.Unmarshal(read(d), &m); err != nil {
		t.Fatal(err)
	}
	read(m.Config.Digest)
	for _, l := range m.Layers {
		read(l.Digest)
	}
}

// The daemon goes on living when ctr is killed; it stops what it did for it.
func TestCtrKilledInMidTransferTransfersAgain(t *testing.T) {
	r, h := start(t), startContainerd(t)
	dir, d := heavy(t, heavySize)
	archive := filepath.Join(t.TempDir(), "heavy.tar")
	if out, err := exec.Command("tar", "-C", dir, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.Ctr(t, "images", "import", "--snapshotter=overlayfs", archive)
	const name = "example.org/heavy:1"

	push := stallAfter(t, r, killAfter, true)
	args := []string{"images", "push", "--local=false", "--plain-http", push.ref("killed/ctr:1"), name}
	killedInMidLayer(t, push, ctr(h, args...))
	h.Ctr(t, args...)
	r.same(t, "killed/ctr:1", d)

	h = startContainerd(t)
	pull := stallAfter(t, r, killAfter, false)
	args = []string{"images", "pull", "--local=false", "--plain-http", "--snapshotter=overlayfs", pull.ref("killed/ctr:1")}
	killedInMidLayer(t, pull, ctr(h, args...))
	h.Ctr(t, args...)
	image, err := h.Client.GetImage(h.Context(), pull.ref("killed/ctr:1"))
	if err != nil || image.Target().Digest != d {
		t.Fatalf("%v, pushed was %s", err, d)
	}
	if ok, err := image.IsUnpacked(h.Context(), "overlayfs"); err != nil || !ok {
		t.Errorf("unpacked: %v, %v", ok, err)
	}
}

func ctr(h *containerdtest.Host, args ...string) *exec.Cmd {
	return exec.Command("ctr", append([]string{"--address", h.Socket, "--namespace", h.Namespace}, args...)...)
}
