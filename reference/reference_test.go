package reference

import (
	"errors"
	"strings"
	"testing"
)

const sha = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestRepositoryNames(t *testing.T) {
	for _, ok := range []string{"a", "demo/node-app", "a/b/c", "a__b", "a---b", "a.b_c", strings.Repeat("a", 240), strings.Repeat("a", 240) + "/" + strings.Repeat("b", 14)} {
		if r, err := ParseRepository(ok); err != nil || string(r) != ok {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "A", "demo/Node", "../etc", "a/../b", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a b", "a\n", strings.Repeat("a", 256), strings.Repeat("a", 241)} {
		if _, err := ParseRepository(bad); !errors.Is(err, ErrRepository) {
			t.Errorf("%.40q: got %v", bad, err)
		}
	}
}

func TestTags(t *testing.T) {
	for _, ok := range []string{"1", "latest", "_x", "V1.2-rc_3", strings.Repeat("t", 128)} {
		if _, err := ParseTag(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".a", "-a", "a/b", "a:b", strings.Repeat("t", 129)} {
		if _, err := ParseTag(bad); !errors.Is(err, ErrTag) {
			t.Errorf("%.40q: got %v", bad, err)
		}
	}
}

func TestDigests(t *testing.T) {
	if _, err := ParseDigest(sha); err != nil {
		t.Error(err)
	}
	if _, err := ParseDigest("sha512:" + strings.Repeat("0", 128)); err != nil {
		t.Error(err)
	}
	for bad, class := range map[string]error{
		"":                                   ErrDigest,
		"sha256":                             ErrDigest,
		"sha256:12":                          ErrDigest,
		"sha256:" + strings.Repeat("G", 64):  ErrDigest,
		"sha384:" + strings.Repeat("0", 96):  ErrDigestUnsupported,
		"md5:" + strings.Repeat("0", 32):     ErrDigestUnsupported,
		"blake3:" + strings.Repeat("0", 64):  ErrDigestUnsupported,
		"sha256:" + strings.Repeat("AB", 32): ErrDigest,
	} {
		if _, err := ParseDigest(bad); !errors.Is(err, class) {
			t.Errorf("%.40q: got %v, want %v", bad, err, class)
		}
	}
}

func TestReferences(t *testing.T) {
	for s, want := range map[string]Reference{
		"app":                       {Repository: "app", Tag: "latest"},
		"demo/app:1":                {Repository: "demo/app", Tag: "1"},
		"localhost/app":             {Host: "localhost", Repository: "app", Tag: "latest"},
		"localhost:5000/demo/app:1": {Host: "localhost:5000", Repository: "demo/app", Tag: "1"},
		"[::1]:5000/app@" + sha:     {Host: "[::1]:5000", Repository: "app", Digest: sha},
		"r.example/app:1@" + sha:    {Host: "r.example", Repository: "app", Tag: "1", Digest: sha},
	} {
		got, err := Parse(s)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
		again, err := Parse(got.String())
		if err != nil || again != got {
			t.Errorf("%q: does not come back: %+v, %v", s, again, err)
		}
	}
	for _, bad := range []string{"", ":", "@", "a:", "a@", "http://a/b", "a b", "-x.y/app", "localhost:5000/", "app:1:2", "app@sha256:1", "localhost:123456/a"} {
		if r, err := Parse(bad); !errors.Is(err, ErrReference) {
			t.Errorf("%q: got %+v, %v", bad, r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("localhost:5000/demo/app:1@" + sha)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q: %+v became %+v, %v", s, r, again, err)
		}
	})
}
