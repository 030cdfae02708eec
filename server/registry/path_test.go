package registry

import (
	"strings"
	"testing"
)

func TestPathsAreReadFromTheRight(t *testing.T) {
	for path, want := range map[string]target{
		"/v2":                               {resBase, "", ""},
		"/v2/":                              {resBase, "", ""},
		"/v2/_catalog":                      {resCatalog, "", ""},
		"/v2/a/blobs/sha256:00":             {resBlob, "a", "sha256:00"},
		"/v2/a/b/c/blobs/":                  {resBlob, "a/b/c", ""},
		"/v2/a/blobs/uploads":               {resUploads, "a", ""},
		"/v2/a/blobs/uploads/":              {resUploads, "a", ""},
		"/v2/a/b/blobs/uploads/01J":         {resUpload, "a/b", "01J"},
		"/v2/a/manifests/latest":            {resManifest, "a", "latest"},
		"/v2/a/tags/list":                   {resTags, "a", ""},
		"/v2/a/referrers/sha256:00":         {resReferrers, "a", "sha256:00"},
		"/v2/a/manifests/b/blobs/uploads/":  {resUploads, "a/manifests/b", ""},
		"/v2/a/blobs/uploads/tags/list":     {resTags, "a/blobs/uploads", ""},
		"/v2/a/blobs/uploads/blobs/x":       {resBlob, "a/blobs/uploads", "x"},
		"/v2/blobs/blobs/uploads/x":         {resUpload, "blobs", "x"},
		"/v2/manifests/manifests/manifests": {resManifest, "manifests", "manifests"},
		"/v2/a/../b/manifests/1":            {resManifest, "a/../b", "1"},
		"/v2//manifests/1":                  {resManifest, "", "1"},
		"/v2/manifests/1":                   {resManifest, "", "1"},
	} {
		if got, ok := parsePath(path); !ok || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", path, got, ok, want)
		}
	}
	for _, path := range []string{"", "/", "/v1/", "/v2x", "/v22/", "v2/", "/v2/a", "/v2/_catalog/", "/v2/a/tags/lists", "/v2/a/tags/list/", "/v2/a/uploads/x", "/v2/a/blobs/x/y"} {
		if got, ok := parsePath(path); ok {
			t.Errorf("%s: got %+v, want nothing", path, got)
		}
	}
}

// FuzzPath holds the router to its grammar: what it finds, put together again,
// is the path.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/_catalog", "/v2/a/b/blobs/uploads/x", "/v2/a/blobs/uploads", "/v2/a/manifests/1", "/v2/a/tags/list", "/v2/a/referrers/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			return
		}
		if strings.Contains(got.arg, "/") {
			t.Fatalf("%q: slash in %+v", path, got)
		}
		name := "/" + got.name
		if got.name == "" { // "/v2/manifests/x" and "/v2//manifests/x" name no repository
			name = ""
		}
		var want []string
		switch got.resource {
		case resBase:
			want = []string{"/v2", "/v2/"}
		case resCatalog:
			want = []string{"/v2/_catalog"}
		case resBlob:
			want = []string{"/v2" + name + "/blobs/" + got.arg}
		case resUploads:
			want = []string{"/v2" + name + "/blobs/uploads/", "/v2" + name + "/blobs/uploads"}
		case resUpload:
			want = []string{"/v2" + name + "/blobs/uploads/" + got.arg}
		case resManifest:
			want = []string{"/v2" + name + "/manifests/" + got.arg}
		case resTags:
			want = []string{"/v2" + name + "/tags/list"}
		case resReferrers:
			want = []string{"/v2" + name + "/referrers/" + got.arg}
		}
		for _, w := range want {
			if path == w || got.name == "" && strings.Replace(path, "/v2//", "/v2/", 1) == w {
				return
			}
		}
		t.Fatalf("%q became %+v", path, got)
	})
}
