package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/internal/imagetest"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// under counts the objects in the bucket by the first two parts of their keys.
func under(t *testing.T, url, prefix string) map[string]int {
	t.Helper()
	b, err := open.Bucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for info, err := range b.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		n[strings.Join(strings.Split(info.Key, "/")[:2], "/")]++
	}
	return n
}

// An image in two realms and in none, all the way from the command line.
func TestImageInSeveralRealms(t *testing.T) {
	url := "file://" + t.TempDir()
	realms, err := realm.Parse("a=team/a b=team/b,tools/b")
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, servertest.Options{Config: server.Config{Bucket: url, Realms: realms}})
	c := newCLI(t)
	c.env["LAMINA_SERVER"] = s.GRPC
	b := imagetest.Blobs{}
	layout := "oci:" + b.Layout(t, app1(b))
	repos := []string{"team/a/app", "team/b/app", "tools/b", "public/app"}
	for _, repo := range repos {
		c.run("push", "-q", layout, repo+":1")
	}
	got := under(t, url, "layers/")
	if len(got) != 3 || got["layers/a"] == 0 || got["layers/a"] != got["layers/b"] || got["layers/a"] != got["layers/default"] {
		t.Errorf("records of layers: %v", got)
	}
	var u struct {
		Shared []struct{ Repositories []string }
	}
	if err := json.Unmarshal([]byte(c.run("usage", "--refresh", "-o", "json")), &u); err != nil || len(u.Shared) == 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	for _, s := range u.Shared {
		if !slices.Equal(s.Repositories, []string{"team/b/app", "tools/b"}) {
			t.Errorf("shared by %v", s.Repositories)
		}
	}
	s.Stop(t)

	// Another server over the same bucket.
	serve := []string{"serve", "--bucket", url, "--http", "127.0.0.1:0", "--grpc", "off", "--metrics", "off", "--log-level", "error"}
	c.env["LAMINA_REALM"] = "a=team/a c=team/b"
	said := c.fails(1, serve...)
	for _, says := range []string{"this one has --realm a=team/a --realm c=team/b,", "has --realm a=team/a --realm b=team/b,tools/b;", "--change-realms"} {
		if !strings.Contains(said, says) {
			t.Errorf("%q does not say %q", said, says)
		}
	}
	c.env["LAMINA_REALM"] = "a=team/a a=Team"
	if said := c.fails(2, serve...); !strings.Contains(said, `--realm: invalid realm "a": prefix: invalid repository name "Team"`) {
		t.Error(said)
	}
}

func TestRealmsInEverySetting(t *testing.T) {
	c := newCLI(t)
	const want = `["a=team/a,x",b=y]`
	check := func(args ...string) {
		t.Helper()
		if got, err := settingsOf(t, c, "realm", args...); err != nil || got != want {
			t.Errorf("%v: %s, %v", args, got, err)
		}
	}
	check("serve", "--realm", "a=team/a,x", "--realm", "b=y")
	writeConfig(t, c, `realm = ["a=team/a,x", "b=y"]`)
	check("serve")
	writeConfig(t, c, "[serve]\nrealm = [\"a=team/a,x\", \"b=y\"]\nchange-realms = true")
	check("serve")
	if got, err := settingsOf(t, c, "change-realms", "serve"); got != "true" || err != nil {
		t.Error(got, err)
	}
}
