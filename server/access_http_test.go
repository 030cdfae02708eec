package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access/accesstest"
	"github.com/laminastore/lamina/server/registry"
)

// What is in team/app once something is.
var (
	kept   = storetest.Build{Tars: [][]byte{storetest.Tar(1000, "file")}}.Image()
	someID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
)

// fill puts an image into a repository, by a way that nobody guards.
func (g *guarded) fill(t *testing.T, repo reference.Repository) {
	t.Helper()
	storetest.PushBlobs(t, g.Store, repo, kept)
	if _, err := g.Images.Put(t.Context(), repo, images.PutOptions{Bytes: kept.Manifest, MediaType: kept.MediaType, Tags: []reference.Tag{"1"}}); err != nil {
		t.Fatal(err)
	}
}

// httpRows says who may make a request of each route.
var httpRows = map[string]struct{ methods, path, admitted string }{
	"base":            {"GET HEAD", "/v2/", named + ",anonymous token," + narrow},
	"catalog":         {"GET HEAD", "/v2/_catalog", named + ",anonymous,greedy token"},
	"blob-pull":       {"GET HEAD", "/v2/team/app/blobs/" + string(kept.Config), pullers},
	"blob-delete":     {"DELETE", "/v2/team/app/blobs/" + string(kept.Config), deleters},
	"upload-start":    {"POST", "/v2/team/app/blobs/uploads/", pushers},
	"upload-status":   {"GET", "/v2/team/app/blobs/uploads/" + someID, pushers},
	"upload-append":   {"PATCH", "/v2/team/app/blobs/uploads/" + someID, pushers},
	"upload-finish":   {"PUT", "/v2/team/app/blobs/uploads/" + someID + "?digest=" + string(kept.Config), pushers},
	"upload-cancel":   {"DELETE", "/v2/team/app/blobs/uploads/" + someID, pushers},
	"manifest-pull":   {"GET HEAD", "/v2/team/app/manifests/1", pullers},
	"manifest-push":   {"PUT", "/v2/team/app/manifests/2", pushers},
	"manifest-delete": {"DELETE", "/v2/team/app/manifests/1", deleters},
	"tags":            {"GET HEAD", "/v2/team/app/tags/list", pullers},
	"referrers":       {"GET HEAD", "/v2/team/app/referrers/" + string(kept.Digest), pullers},
	// A token cannot be had for a token, which would make it last for ever. (POST has
	// its credentials in the body: package access.)
	"token": {"GET HEAD", "/v2/token?service=lamina", named + ",anonymous"},
}

// mayNot is with what a caller is refused whom the row does not admit.
func mayNot(row string, c accesstest.Caller) int {
	switch {
	case among(refused, c) || among(nameless, c):
		return http.StatusUnauthorized
	case row == "token":
		return http.StatusUnauthorized
	case c.Name == "narrow token" && row != "blob-delete" && row != "manifest-delete", row == "catalog" && c.Name == "token":
		return http.StatusUnauthorized // there are wider tokens for it
	}
	return http.StatusForbidden
}

// An answer is all that a client sees, but for what differs each time.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// client is how a caller speaks HTTP.
func (g *guarded) client(t *testing.T, c accesstest.Caller) func(method, path string) answer {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: g.tls(c)}
	t.Cleanup(tr.CloseIdleConnections)
	return func(method, path string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+g.HTTP+path, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		if c.Authorization != "" {
			r.Header.Set("Authorization", c.Authorization)
		}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %s %s: %v", c.Name, method, path, err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Header.Del("X-Request-Id")
		resp.Header.Del("Date")
		return answer{resp.StatusCode, resp.Header, string(body)}
	}
}

// Every route, by every kind of caller, before there is anything and after: who
// is refused cannot tell the one from the other.
func TestWhoMayUseWhichRoute(t *testing.T) {
	for _, name := range registry.Routes() {
		if _, ok := httpRows[name]; !ok {
			t.Errorf("route %s has no row here: say who may use it", name)
		}
	}
	if len(httpRows) != len(registry.Routes()) {
		t.Errorf("%d rows for %d routes", len(httpRows), len(registry.Routes()))
	}
	g := startGuarded(t)
	do := make([]func(method, path string) answer, len(g.callers))
	before := map[string]answer{}
	each := func(f func(what, row, method, path string, c accesstest.Caller, do func(method, path string) answer)) {
		for i, c := range g.callers {
			if do[i] == nil {
				do[i] = g.client(t, c)
			}
			for _, name := range registry.Routes() {
				for method := range strings.FieldsSeq(httpRows[name].methods) {
					f(fmt.Sprintf("%s: %s, %s", c.Name, name, method), name, method, httpRows[name].path, c, do[i])
				}
			}
		}
	}
	each(func(what, row, method, path string, c accesstest.Caller, do func(method, path string) answer) {
		got := do(method, path)
		admitted := among(httpRows[row].admitted, c)
		switch got.Status {
		case http.StatusUnauthorized:
			if row != "token" && !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Bearer realm=\"https://"+g.HTTP+"/v2/token\"") {
				t.Errorf("%s: the challenge is %q", what, got.Header.Get("WWW-Authenticate"))
			}
			fallthrough
		case http.StatusForbidden:
			if want := mayNot(row, c); admitted || got.Status != want {
				t.Errorf("%s: %d %s, admitted %v, want %d", what, got.Status, got.Body, admitted, want)
			}
			before[what] = got
		default:
			if !admitted {
				t.Errorf("%s: is let in: %d %s", what, got.Status, got.Body)
			}
		}
	})
	g.fill(t, "team/app")
	each(func(what, row, method, path string, c accesstest.Caller, do func(method, path string) answer) {
		was, ok := before[what]
		if !ok {
			return
		}
		if diff := cmp.Diff(was, do(method, path)); diff != "" {
			t.Errorf("%s: it can tell that something is there (-before +after):\n%s", what, diff)
		}
	})
}

// Whoever has no right to a repository can neither take a blob from it nor find
// out that it is there: by no way of asking.
func TestMountsAreWalls(t *testing.T) {
	g := startGuarded(t)
	g.fill(t, "secret/app")
	nowhere := digest.FromString("nowhere")
	for _, c := range []accesstest.Caller{g.f.Writer, g.f.Owner, g.f.CI} {
		do := g.client(t, c)
		start := func(query string) answer {
			got := do(http.MethodPost, "/v2/team/new/blobs/uploads/?"+query)
			if id := got.Header.Get("Docker-Upload-UUID"); id != "" { // random
				got.Header.Del("Docker-Upload-UUID")
				got.Header.Set("Location", strings.ReplaceAll(got.Header.Get("Location"), id, "ID"))
			}
			return got
		}
		for name, query := range map[string]string{
			"from a secret place": "from=secret/app&mount=", "from one that is not there": "from=secret/none&mount=", "from anywhere": "mount=",
		} {
			there, none := start(query+string(kept.Layers[0])), start(query+string(nowhere))
			if none.Status != http.StatusAccepted {
				t.Errorf("%s, %s: %d", c.Name, name, none.Status)
			}
			if diff := cmp.Diff(none, there); diff != "" {
				t.Errorf("%s, %s: it can tell that the blob is there (-is not +is):\n%s", c.Name, name, diff)
			}
		}
	}
}

func TestTheCatalogShowsWhatMayBePulled(t *testing.T) {
	g := startGuarded(t)
	for _, repo := range []reference.Repository{"a/secret", "open/app", "secret/app", "team/app", "team/b", "z/secret"} {
		g.fill(t, repo)
	}
	for _, c := range g.callers {
		if !among(httpRows["catalog"].admitted, c) {
			continue
		}
		want := []string{"open/app"}
		switch {
		case c.Name == "operator":
			want = []string{"a/secret", "open/app", "secret/app", "team/app", "team/b", "z/secret"}
		case among(pullers, c):
			want = append(want, "team/app", "team/b")
		}
		do := g.client(t, c)
		var got []string
		for path := "/v2/_catalog?n=1"; path != ""; {
			a := do(http.MethodGet, path)
			var names []string
			if _, list, ok := strings.Cut(strings.TrimSuffix(a.Body, "]}"), "["); ok && list != "" {
				for name := range strings.SplitSeq(list, ",") {
					names = append(names, strings.Trim(name, `"`))
				}
			}
			got = append(got, names...)
			path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
			if strings.Contains(path, "secret") && c.Name != "operator" {
				t.Errorf("%s: the link tells %s", c.Name, path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", c.Name, got, want)
		}
	}
}
