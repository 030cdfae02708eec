package main

import (
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	registryserver "github.com/google/go-containerregistry/pkg/registry"

	"github.com/laminastore/lamina/internal/imagetest"
)

// What goes wrong is said in one line: what failed, why, and what to do.
func TestWhatGoesWrong(t *testing.T) {
	c, s := withServer(t)
	other := httptest.NewServer(registryserver.New())
	t.Cleanup(other.Close)
	otherHost := strings.TrimPrefix(other.URL, "http://")
	b := imagetest.Blobs{}
	dir := b.Layout(t, imagetest.Named(app1(b), "1"))
	c.run("push", "-q", "oci:"+dir, "demo/app:1")
	many := imagetest.Blobs{}
	c.run("push", "-q", "oci:"+many.Layout(t, many.Index()), "demo/many:1")
	missing := filepath.Join(dir, "missing")

	alone := newCLI(t)
	var out strings.Builder
	say := func(c *cli, code int, args ...string) {
		t.Helper()
		line := c.fails(code, args...)
		out.WriteString("$ lamina " + strings.Join(args, " ") + "\n" + line)
	}
	say(c, 2, "pussh")
	say(c, 2, "push")
	say(c, 2, "push", "oci:x")
	say(c, 2, "push", "oci:x", "y", "z")
	say(c, 2, "push", "x", "demo/app:1")
	say(c, 2, "push", "oci:"+dir, "Demo/App:1")
	say(c, 2, "push", "oci:"+dir, "demo/app:-1")
	say(c, 2, "push", "-j", "0", "oci:"+dir, "demo/app:1")
	say(c, 2, "push", "--mount-from", "A", "oci:"+dir, "demo/app:1")
	say(c, 2, "images", "--frob")
	say(c, 2, "images", "a", "b")
	say(c, 2, "images", "-o", "xml")
	say(c, 2, "rm")
	say(c, 2, "rm", "demo/app")
	say(c, 2, "tag", "demo/app:1", "demo/app@sha256:"+strings.Repeat("0", 64))
	say(c, 2, "commit", "x", "demo/app@sha256:"+strings.Repeat("0", 64))
	say(c, 2, "commit", "--compression", "rar", "x", "demo/app:2")
	say(c, 2, "serve", "--log-level", "loud")
	say(c, 1, "push", "oci:"+missing, "demo/app:1")
	say(c, 1, "push", "oci:"+dir+":2", "demo/app:1")
	say(c, 1, "push", "oci:"+dir, "demo/app@sha256:"+strings.Repeat("0", 64))
	say(c, 1, "pull", "demo/app:2", "oci:"+missing)
	say(c, 1, "pull", "demo/none:1", "oci:"+missing)
	say(c, 1, "pull", "demo/app@sha256:"+strings.Repeat("0", 64), "oci:"+missing)
	say(c, 1, "pull", "--platform", "linux/s390x", "demo/many:1", "docker-archive:"+missing)
	say(c, 1, "pull", "demo/app:1", "oci-archive:"+filepath.Join(missing, "x.tar"))
	say(c, 1, "inspect", "demo/none")
	say(c, 1, "history", "demo/app:2")
	say(c, 1, "tag", "demo/none:1", "demo/app:2")
	say(c, 1, "rm", "demo/app:2")
	say(c, 1, "containers", "--node", "nobody")
	say(c, 1, "diff", "x", "--socket", "/nowhere.sock")
	say(c, 1, "commit", "x", "demo/app:2", "--socket", "/nowhere.sock")
	say(c, 1, "containers", "--local", "--socket", "/nowhere.sock")
	say(alone, 1, "images", "--server", "127.0.0.1:1")
	say(alone, 1, "images", "127.0.0.1:1")
	say(alone, 1, "images", "--server", s.HTTP)
	say(alone, 1, "inspect", otherHost+"/demo/app:1")
	say(alone, 1, "pull", otherHost+"/demo/app:1", "oci:"+missing)
	got := out.String()
	for _, r := range [][2]string{
		{dir, "DIR"}, {otherHost, "OTHER:1"}, {s.HTTP, "LAMINA:5000"},
	} {
		got = strings.ReplaceAll(got, r[0], r[1])
	}
	golden(t, "errors", regexp.MustCompile(`request id \S+`).ReplaceAllString(got, "request id ID"))
}

// A layer that is not what its image says is found before anyone runs it.
func TestAPushOfABadLayerFails(t *testing.T) {
	c, _ := withServer(t)
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 1000)
	_ = root
	dir := b.Layout(t, badLayer(b))
	line := c.fails(1, "push", "-q", "oci:"+dir, "demo/app:1")
	if !strings.Contains(line, "layer 1 of 1 cannot be used") {
		t.Error(line)
	}
	c.run("push", "-q", "--no-wait", "oci:"+dir, "demo/app:2")
}
