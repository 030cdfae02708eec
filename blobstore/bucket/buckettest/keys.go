package buckettest

import (
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var keyTests = []test{
	{"every allowed character is kept", func(t *testing.T, b bucket.Bucket) {
		for _, key := range []string{
			"abcdefghijklmnopqrstuvwxyz/ABCDEFGHIJKLMNOPQRSTUVWXYZ/0123456789",
			"x._-:=+~x", "-", "_", ":", "=", "+", "~", "a..b", "a+b/c=d:e~f", "-rf", "a.", "a.tmp",
		} {
			wantObject(t, b, key, []byte(key), put(t, b, key, []byte(key), bucket.Condition{}))
		}
	}},
	{"case counts", func(t *testing.T, b bucket.Bucket) {
		put(t, b, "key", []byte("small"), bucket.Condition{})
		put(t, b, "KEY", []byte("big"), bucket.Condition{})
		wantObject(t, b, "KEY", []byte("big"))
		_, err := b.Stat(t.Context(), "Key")
		wantError(t, "stat", err, bucket.ErrNotExist)
	}},
	{"a key may be as long as is allowed", func(t *testing.T, b bucket.Bucket) {
		long := strings.Repeat(strings.Repeat("s", bucket.MaxSegmentLength)+"/", 4)[:bucket.MaxKeyLength]
		put(t, b, long, []byte("x"), bucket.Condition{})
		wantObject(t, b, long, []byte("x"))
		deep := strings.Repeat("d/", bucket.MaxKeyLength/2-1) + "dd"
		put(t, b, deep, []byte("y"), bucket.Condition{})
		wantObject(t, b, deep, []byte("y"))
	}},
	{"a key may begin like another", func(t *testing.T, b bucket.Bucket) {
		keys := []string{"a", "a-b", "a.b", "aa", "b/a", "b/a-/c", "b/aa"}
		for _, key := range keys {
			put(t, b, key, []byte(key), bucket.Condition{IfAbsent: true})
		}
		for _, key := range keys {
			have, _, err := get(t.Context(), b, key, 0, -1)
			if err != nil || string(have) != key {
				t.Errorf("get %s: %q, %v", key, have, err)
			}
		}
		if err := b.Delete(t.Context(), "a", "b/a"); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, b, "a")
		wantKeys(t, b, "", "", []string{"a-b", "a.b", "aa", "b/a-/c", "b/aa"})
	}},
	{"an invalid key is refused by every call", func(t *testing.T, b bucket.Bucket) {
		ctx := t.Context()
		for _, key := range []string{
			"", "/a", "a/", "a//b", ".", "..", "a/../b", ".lamina/x", "a b", "a@", "a\\b", "a\x00b", "ä",
			strings.Repeat("k/", bucket.MaxKeyLength/2) + "k", strings.Repeat("k", bucket.MaxSegmentLength+1),
		} {
			_, _, err := b.Get(ctx, key, 0, -1)
			wantError(t, "get", err, bucket.ErrKey)
			_, err = b.Stat(ctx, key)
			wantError(t, "stat", err, bucket.ErrKey)
			_, err = b.Put(ctx, key, strings.NewReader("x"), 1, bucket.Condition{})
			wantError(t, "put", err, bucket.ErrKey)
			wantError(t, "delete", b.Delete(ctx, key), bucket.ErrKey)
			_, err = b.CreateMultipart(ctx, key)
			wantError(t, "create upload", err, bucket.ErrKey)
			_, err = b.PutPart(ctx, key, "id", 1, strings.NewReader("x"), 1)
			wantError(t, "put part", err, bucket.ErrKey)
			_, err = b.CompleteMultipart(ctx, key, "id", []bucket.Part{{Number: 1}}, bucket.Condition{})
			wantError(t, "complete upload", err, bucket.ErrKey)
			wantError(t, "abort upload", b.AbortMultipart(ctx, key, "id"), bucket.ErrKey)
			for _, err := range b.ListMultiparts(ctx, key) {
				wantError(t, "list uploads", err, bucket.ErrKey)
			}
			if d, ok := b.(bucket.ConditionalDeleter); ok {
				wantError(t, "delete if", d.DeleteIf(ctx, key, "x"), bucket.ErrKey)
			}
			if p, ok := b.(bucket.Presigner); ok {
				_, err := p.PresignGet(ctx, key, time.Minute)
				wantError(t, "presign", err, bucket.ErrKey)
			}
		}
		for _, prefix := range []string{"a b", "@", "a\x00"} {
			for _, err := range b.List(ctx, prefix, "") {
				wantError(t, "list", err, bucket.ErrKey)
			}
			for _, err := range b.List(ctx, "", prefix) {
				wantError(t, "list", err, bucket.ErrKey)
			}
		}
		wantKeys(t, b, "", "", nil)
	}},
}
