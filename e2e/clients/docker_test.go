package clients

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/internal/needs"
)

// startDocker starts a Docker daemon of the test's own, and returns its client.
// The test is skipped where the daemon cannot start: it asks for more of a
// machine than the other clients.
func startDocker(t *testing.T) *client {
	t.Helper()
	needs.Root(t)
	needs.Commands(t, "dockerd")
	c := the(t, "docker")
	dir, err := os.MkdirTemp("", "d-") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	daemon := exec.Command("dockerd", "--host", "unix://"+socket, "--containerd", startContainerd(t).Socket, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", "--log-level=warn")
	daemon.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		<-ended
		_ = unix.Unmount(dir+"/data", unix.MNT_DETACH) // which one that did not start leaves behind
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c.before = []string{"--host", "unix://" + socket}
	for range 1000 { // a try takes a while by itself
		if _, err := c.try("", "version"); err == nil {
			return c
		}
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("the Docker daemon does not start here: %v\n%s", err, &log)
		default:
		}
	}
	_ = daemon.Process.Kill()
	ended <- <-ended
	t.Skipf("the Docker daemon does not answer here:\n%s", &log)
	return nil
}

// archive writes an image as `docker save` does, for `docker load`.
func archive(t *testing.T, image v1.Image, ref string) string {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, image); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDocker(t *testing.T) {
	r, s, c := start(t), makeSamples(t), startDocker(t)
	s.push(t, r)
	for _, kind := range kinds {
		there := r.ref("from/" + kind + ":1")
		c.run(t, "pull", "--quiet", there)
		if out := c.run(t, "image", "inspect", "--format", "{{.RepoDigests}}", there); !hasAll(out, r.ref("from/"+kind+"@"+string(s.digests[kind]))) {
			t.Errorf("%s: pulled %s, pushed was %s", kind, out, s.digests[kind])
		}
		if out := c.run(t, "run", "--rm", "--network=none", there, "cat", "/greeting"); out != greeting {
			t.Errorf("%s: a container of it says %q", kind, out)
		}
	}
	// What it pushes itself comes back as it was.
	mine := r.ref("made/app:1")
	c.run(t, "load", "--input", archive(t, s.what[docker].(v1.Image), mine))
	id := c.run(t, "image", "inspect", "--format", "{{.Id}}", mine)
	c.run(t, "push", mine)
	m, d := r.whole(t, "made/app:1")
	if m.MediaType != dockerManifest {
		t.Errorf("a manifest of %s", m.MediaType)
	}
	images := strings.Fields(c.run(t, "images", "--quiet"))
	c.run(t, append([]string{"rmi", "--force"}, images...)...)
	c.run(t, "pull", "--quiet", r.ref("made/app@"+string(d)))
	if again := c.run(t, "image", "inspect", "--format", "{{.Id}}", r.ref("made/app@"+string(d))); again != id {
		t.Errorf("the image is %s, and was %s", again, id)
	}
}
