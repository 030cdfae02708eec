package open

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/s3"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]location{
		"memory:":                      inMemory{},
		"file:///var/lib/lamina":       folder{path: "/var/lib/lamina"},
		"file:///a%20b/../c/":          folder{path: "/c"},
		"file:///nfs?network=allow":    folder{path: "/nfs", opts: file.Options{AllowNetwork: true}},
		"s3://images":                  s3.Options{Bucket: "images"},
		"s3://images/":                 s3.Options{Bucket: "images"},
		"s3://images/a/b/?create=true": s3.Options{Bucket: "images", Prefix: "a/b", Create: true},
		"s3://images?endpoint=http://127.0.0.1:9000&region=eu-central-1": s3.Options{
			Bucket: "images", Endpoint: "http://127.0.0.1:9000", Region: "eu-central-1"},
		"s3://my.images?endpoint=https%3A%2F%2Fs3.example.com&create=false": s3.Options{
			Bucket: "my.images", Endpoint: "https://s3.example.com"},
	} {
		have, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if diff := cmp.Diff(want, have, cmp.AllowUnexported(folder{}), cmpopts.IgnoreFields(s3.Options{}, "Credentials")); diff != "" {
			t.Errorf("%s (-want +have):\n%s", raw, diff)
		}
	}
}

// Each message names the URL, what is wrong and what to write instead.
func TestParseRefuses(t *testing.T) {
	for raw, says := range map[string]string{
		"":                                    "file:///",
		"/var/lib/lamina":                     "write file:///var/lib/lamina",
		"var/lib":                             "write file:///var/lib",
		"gs://images":                         `scheme "gs" is not known`,
		"http://s3.example.com/images":        `scheme "http" is not known`,
		"file://var/lib/lamina":               "three slashes",
		"file:lamina":                         "three slashes",
		"file:":                               "three slashes",
		"file:///a?network=maybe":             "network=allow",
		"file:///a?region=x":                  `"region" is not known here; there is: network`,
		"file:///a%00b":                       "NUL",
		"memory://x":                          "has no name",
		"memory:x":                            "has no name",
		"memory:?create=true":                 `"create" is not known here`,
		"s3:":                                 "follows two slashes",
		"s3:///prefix":                        "follows two slashes",
		"s3://127.0.0.1:9000/images":          "endpoint=URL",
		"s3://images/a//b":                    "prefix",
		"s3://images/../b":                    "prefix",
		"s3://images?endpoint=s3.example.com": "endpoint=s3.example.com: want http://HOST",
		"s3://images?endpoint=ftp://x":        "want http://HOST",
		"s3://images?create=yes":              "want true or false",
		"s3://images?bucket=x":                `"bucket" is not known here; there is: endpoint, region, create`,
		"s3://images?region=a&region=b":       "twice",
		"s3://images?region=%zz":              "invalid URL escape",
		"s3://images#x":                       "unexpected #x",
		"s3://key:hunter2@images":             "AWS_SECRET_ACCESS_KEY",
		"s3://images?endpoint=http://k:hunter2@h": "want http://HOST",
		"s3://key:hunter2@images\x7f":             "want file:///",
	} {
		l, err := parse(raw)
		if err == nil {
			t.Errorf("%s: parsed as %+v", raw, l)
			continue
		}
		if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "bucket URL") {
			t.Errorf("%s: %v\nwant it to say: %s", raw, err, says)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the message has the password: %v", raw, err)
		}
	}
}

func TestBucketsOpen(t *testing.T) {
	urls := map[string]string{
		"memory": "memory:",
		"file":   (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "new bucket")}).String(),
	}
	for name, raw := range urls {
		t.Run(name, func(t *testing.T) { check(t, raw) })
	}
	t.Run("s3", func(t *testing.T) { check(t, servers.MinIO(t)) })
}

func check(t *testing.T, raw string) {
	t.Helper()
	b, err := Bucket(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "a/b", strings.NewReader("x"), 1, bucket.Condition{IfAbsent: true}); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(raw, strings.SplitN(b.String(), "?", 2)[0]) {
		t.Errorf("%s opened %s", raw, b)
	}
}

func TestAnS3BucketThatIsNotThere(t *testing.T) {
	raw := strings.Replace(servers.MinIO(t), "create=true", "create=false", 1)
	_, err := Bucket(t.Context(), raw)
	if err == nil {
		t.Fatal("it opened")
	}
	for _, word := range []string{"s3://lamina-", "no such bucket", "create=true"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// FuzzParse: whatever is parsed is fit to be opened.
func FuzzParse(f *testing.F) {
	for _, raw := range []string{
		"memory:", "file:///var/lib/lamina", "s3://images/a/b?endpoint=http://127.0.0.1:9000&region=eu&create=true", "s3://a:b@c", "file://x",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := parse(raw)
		if err != nil {
			return
		}
		switch l := l.(type) {
		case folder:
			if !filepath.IsAbs(l.path) || strings.ContainsRune(l.path, 0) || filepath.Clean(l.path) != l.path {
				t.Errorf("%q: folder %q", raw, l.path)
			}
		case s3.Options:
			if l.Bucket == "" || l.Prefix != "" && bucket.CheckKey(l.Prefix) != nil {
				t.Errorf("%q: %+v", raw, l)
			}
		case inMemory:
		default:
			t.Errorf("%q: %T", raw, l)
		}
	})
}
