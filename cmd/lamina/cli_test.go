package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/imagetest"
	"github.com/laminastore/lamina/server/servertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A cli is the program with an environment of its own.
type cli struct {
	t   *testing.T
	env map[string]string
}

type result struct {
	out, err string
	code     int
}

func newCLI(t *testing.T) *cli {
	// No settings of the machine on which the test runs.
	return &cli{t, map[string]string{"XDG_CONFIG_HOME": t.TempDir()}}
}

// withServer is a cli that finds a new server.
func withServer(t *testing.T) (*cli, *servertest.Server) {
	s := servertest.Start(t, servertest.Options{})
	c := newCLI(t)
	c.env["LAMINA_SERVER"] = s.GRPC
	return c, s
}

func (c *cli) try(args ...string) result {
	c.t.Helper()
	var out, err bytes.Buffer
	a := &app{out: &out, err: &err, getenv: func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }}
	code := a.run(c.t.Context(), args)
	return result{out.String(), err.String(), code}
}

// run is for what must succeed.
func (c *cli) run(args ...string) string {
	c.t.Helper()
	r := c.try(args...)
	if r.code != 0 {
		c.t.Fatalf("lamina %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

// fails is for what must not, and returns the line that it says.
func (c *cli) fails(code int, args ...string) string {
	c.t.Helper()
	r := c.try(args...)
	if r.code != code || !strings.HasPrefix(r.err, "lamina: ") || strings.Count(r.err, "\n") != 1 {
		c.t.Errorf("lamina %s: exit code %d, want %d and one line that begins with lamina:\n%s", strings.Join(args, " "), r.code, code, r.err)
	}
	return r.err
}

var justNow = regexp.MustCompile(`just now|\d+ seconds? ago`)

// golden compares what was printed with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	got = justNow.ReplaceAllString(got, "just now")
	name := filepath.Join("testdata", file+".golden")
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

// app1 is an image as a Dockerfile makes it.
func app1(b imagetest.Blobs) ocispec.Descriptor {
	root := b.Image("amd64", 1, 1000, 20_000, 300)
	var m ocispec.Manifest
	if err := json.Unmarshal(b[root.Digest], &m); err != nil {
		panic(err)
	}
	var c ocispec.Image
	if err := json.Unmarshal(b[m.Config.Digest], &c); err != nil {
		panic(err)
	}
	c.Config = ocispec.ImageConfig{
		Cmd: []string{"node", "index.js", "--title", "it's me"}, WorkingDir: "/app", User: "node",
		Env: []string{"PATH=/usr/bin:/bin", "A=b"}, Labels: map[string]string{"org.example": "yes"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}
	c.History = []ocispec.History{
		{CreatedBy: "/bin/sh -c #(nop) ADD file:5717b5b3bb53564058a454dd in / "},
		{CreatedBy: "WORKDIR /app", EmptyLayer: true},
		{CreatedBy: "RUN /bin/sh -c npm install # buildkit"},
		{CreatedBy: "|1 A=b /bin/sh -c make"},
		{CreatedBy: `/bin/sh -c #(nop)  CMD ["node" "index.js"]`, EmptyLayer: true},
	}
	m.Config = b.AddJSON(ocispec.MediaTypeImageConfig, c)
	return b.AddJSON(ocispec.MediaTypeImageManifest, m)
}

func TestTables(t *testing.T) {
	c, _ := withServer(t)
	b := imagetest.Blobs{}
	one := "oci:" + b.Layout(t, app1(b))
	both := imagetest.Blobs{}
	index := "oci:" + both.Layout(t, both.Index())
	c.run("push", "-q", one, "demo/node-app:1")
	c.run("push", "-q", one, "demo/node-app:stable")
	c.run("push", "-q", one, "team/copy:1")
	c.run("push", "-q", index, "demo/many")
	for name, args := range map[string][]string{
		"images":       {"images"},
		"images-demo":  {"images", "demo/n"},
		"images-quiet": {"images", "-q"},
		"inspect":      {"inspect", "demo/node-app:1"},
		"inspect-json": {"inspect", "-o", "json", "demo/node-app:1"},
		"inspect-many": {"inspect", "--platform", "linux/arm64", "demo/many"},
		"history":      {"history", "demo/node-app:1"},
		"history-json": {"history", "-o", "json", "demo/node-app:1"},
		"usage":        {"usage", "--refresh"},
	} {
		// Which of the images that were pushed at once is the oldest differs.
		golden(t, name, regexp.MustCompile(`(?s)OLDEST IMAGE.*?\n\n`).ReplaceAllString(c.run(args...), ""))
	}
	// Times are different each time.
	times := regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]+Z"`)
	golden(t, "images-json", times.ReplaceAllString(c.run("images", "-o", "json", "-a"), `"TIME"`))
	usage := regexp.MustCompile(`(?s),\s+"oldestImages": .*`).ReplaceAllString(c.run("usage", "-o", "json"), "\n}\n")
	golden(t, "usage-json", times.ReplaceAllString(usage, `"TIME"`))
	if r := c.try("images", "nothing"); r.code != 0 || r.out != "" || r.err != "no images whose repository begins with nothing\n" {
		t.Errorf("%+v", r)
	}
	if got := c.run("images", "-o", "json", "nothing"); got != "[]\n" {
		t.Errorf("no images as JSON: %q", got)
	}
	if got := c.run("inspect", "--raw", "demo/node-app:1"); got != string(b[app1(b).Digest]) {
		t.Errorf("--raw: %q", got)
	}
}

func TestWhatPushAndPullSay(t *testing.T) {
	c, _ := withServer(t)
	b := imagetest.Blobs{}
	layout := b.Layout(t, app1(b))
	r := c.try("push", "oci:"+layout, "demo/app:1", "-j", "1")
	golden(t, "push", r.out+"---\n"+r.err)
	r = c.try("push", "oci:"+layout, "demo/app:2")
	golden(t, "push-again", r.out+"---\n"+r.err)
	golden(t, "push-json", c.run("push", "-o", "json", "oci:"+layout, "demo/app:2"))
	dir := filepath.Join(t.TempDir(), "x")
	r = c.try("pull", "demo/app:1", "oci:"+dir, "-j", "1")
	golden(t, "pull", strings.ReplaceAll(r.out+"---\n"+r.err, dir, "DIR"))
	if r := c.try("push", "-q", "oci:"+dir, "demo/app:1"); r != (result{}) {
		t.Errorf("-q says %+v", r)
	}
	if r := c.try("pull", "-q", "demo/app:1", "oci:"+dir); r != (result{}) {
		t.Errorf("-q says %+v", r)
	}
}

func TestTagAndRemove(t *testing.T) {
	c, _ := withServer(t)
	b := imagetest.Blobs{}
	root := app1(b)
	c.run("push", "-q", "oci:"+b.Layout(t, root), "demo/app:1")
	var out strings.Builder
	for _, args := range [][]string{
		{"tag", "demo/app:1", "demo/app:stable"},
		{"tag", "demo/app:1", "other/place:9"},
		{"tag", "-q", "demo/app@" + string(root.Digest), "demo/app:third"},
		{"rm", "demo/app:1"},
		{"rm", "other/place:9"},
		{"rm", "demo/app@" + string(root.Digest)},
		{"rm", "-q", "other/place@" + string(root.Digest)},
		{"images", "-a"},
	} {
		r := c.try(args...)
		out.WriteString("$ lamina " + strings.Join(args, " ") + "\n" + r.out + r.err)
	}
	golden(t, "tag-rm", out.String())
}
