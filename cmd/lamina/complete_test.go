package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/laminastore/lamina/internal/imagetest"
)

// complete returns what a shell offers.
func (c *cli) complete(args ...string) []string {
	c.t.Helper()
	out := c.run(append([]string{"__complete"}, args...)...)
	var list []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, ":") {
			word, _, _ := strings.Cut(line, "\t")
			list = append(list, word)
		}
	}
	return list
}

func TestCompletion(t *testing.T) {
	c, s := withServer(t)
	b := imagetest.Blobs{}
	dir := b.Layout(t, app1(b))
	c.run("push", "-q", "oci:"+dir, "demo/app:1")
	c.run("push", "-q", "oci:"+dir, "demo/web:2")
	place := t.TempDir()
	if err := os.MkdirAll(filepath.Join(place, "layout"), 0o755); err != nil {
		t.Fatal(err)
	}
	imagetest.Put(t, place, "lay.tar", nil)
	for _, x := range []struct {
		args []string
		want []string
	}{
		{[]string{"inspect", ""}, []string{"demo/app:1", "demo/web:2"}},
		{[]string{"inspect", "demo/w"}, []string{"demo/web:2"}},
		{[]string{"inspect", "demo/app:"}, []string{"demo/app:1"}},
		{[]string{"inspect", s.HTTP + "/demo/a"}, []string{s.HTTP + "/demo/app:1"}},
		{[]string{"rm", "demo/app:1", "demo/"}, []string{"demo/app:1", "demo/web:2"}},
		{[]string{"tag", "demo/app:1", "demo/w"}, []string{"demo/web:2"}},
		{[]string{"inspect", "demo/app:1", ""}, nil},
		{[]string{"push", ""}, []string{"oci:", "oci-archive:", "docker-archive:", "docker://"}},
		{[]string{"push", "oci:" + place + "/la"}, []string{"oci:" + place + "/layout/"}},
		{[]string{"push", "oci-archive:" + place + "/la"}, []string{"oci-archive:" + place + "/lay.tar", "oci-archive:" + place + "/layout/"}},
		{[]string{"push", "oci:x", "demo/a"}, []string{"demo/app:1"}},
		{[]string{"pull", "demo/app:1", "doc"}, []string{"docker-archive:", "docker://"}},
		{[]string{"pul"}, []string{"pull"}},
	} {
		if got := c.complete(x.args...); !slices.Equal(got, x.want) {
			t.Errorf("%q: %q, want %q", x.args, got, x.want)
		}
	}
	// Without a server a shell is told nothing, and soon.
	c.env["LAMINA_SERVER"] = "127.0.0.1:1"
	if got := c.complete("inspect", ""); got != nil {
		t.Errorf("%q", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := c.run("completion", shell); !strings.Contains(out, "lamina") {
			t.Errorf("%s: %q", shell, out)
		}
	}
}
