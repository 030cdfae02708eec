package bucket

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckKeyAccepts(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "catalog/demo/node-app", "blobs/sha256/0a/0abc", "x/a.b_c-d:e=f+g~h", "A/Z/09",
		"_tags/1..2", strings.Repeat("k", MaxSegmentLength), strings.Repeat("k/", MaxKeyLength/2-1) + "kk",
	} {
		if err := CheckKey(key); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckKeyRefuses(t *testing.T) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.hidden", "a b", "a@", "a\\b", "a\x00", "ä", "a%2f", "a?", "a*",
		strings.Repeat("k", MaxSegmentLength+1), strings.Repeat("k/", MaxKeyLength/2) + "k",
	} {
		if err := CheckKey(key); !errors.Is(err, ErrKey) {
			t.Errorf("key %q: %v, want ErrKey", key, err)
		}
	}
}

// FuzzCheckKey holds CheckKey against what a bucket on disk relies on: a key it
// accepts is a relative path that stays where it is and needs no escaping.
func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"a", "a/b", "../a", "a//b", ".a", "a@", "a\x00b"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		if len(key) > MaxKeyLength || strings.ContainsAny(key, "@\\%?#\x00 ") {
			t.Errorf("accepted %q", key)
		}
		for _, seg := range strings.Split(key, "/") {
			if seg == "" || seg == ".." || strings.HasPrefix(seg, ".") || len(seg) > MaxSegmentLength {
				t.Errorf("accepted %q with segment %q", key, seg)
			}
		}
		if err := CheckPrefix(key); err != nil {
			t.Errorf("a key is no prefix: %v", err)
		}
	})
}
