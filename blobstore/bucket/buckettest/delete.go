package buckettest

import (
	"fmt"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var deleteTests = []test{
	{"what is deleted is gone", func(t *testing.T, b bucket.Bucket) {
		put(t, b, "a", []byte("x"), bucket.Condition{})
		put(t, b, "b/c", content(300<<10, 1), bucket.Condition{})
		if err := b.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, b, "a")
		wantKeys(t, b, "", "", []string{"b/c"})
		if err := b.Delete(t.Context(), "b/c"); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, b, "", "", nil)
		wantObject(t, b, "a", []byte("new"), put(t, b, "a", []byte("new"), bucket.Condition{IfAbsent: true}))
	}},
	{"what is not there is no error", func(t *testing.T, b bucket.Bucket) {
		put(t, b, "c", []byte("x"), bucket.Condition{})
		if err := b.Delete(t.Context(), "a", "b/b", "c", "c/c"); err != nil {
			t.Error(err)
		}
		if err := b.Delete(t.Context()); err != nil {
			t.Error(err)
		}
		wantKeys(t, b, "", "", nil)
	}},
	{"1,500 keys at once", func(t *testing.T, b bucket.Bucket) {
		var keys []string
		for i := range 1500 {
			keys = append(keys, fmt.Sprintf("d/%02d/%04d", i%7, i))
		}
		putAll(t, b, keys...)
		putAll(t, b, "d/0", "d/00/x", "e")
		if err := b.Delete(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, b, "", "", []string{"d/0", "d/00/x", "e"})
	}},
	{"DeleteIf removes the version named", func(t *testing.T, b bucket.Bucket) {
		d, ok := b.(bucket.ConditionalDeleter)
		if !ok {
			t.Skip("the bucket does not delete conditionally")
		}
		for _, size := range []int64{10, 0, 300 << 10} {
			old := put(t, b, "a", content(size, 1), bucket.Condition{})
			now := put(t, b, "a", content(size+1, 2), bucket.Condition{})
			wantError(t, "delete", d.DeleteIf(t.Context(), "a", old.ETag), bucket.ErrPrecondition)
			wantObject(t, b, "a", content(size+1, 2), now)
			if err := d.DeleteIf(t.Context(), "a", now.ETag); err != nil {
				t.Fatal(err)
			}
			wantAbsent(t, b, "a")
			if err := d.DeleteIf(t.Context(), "a", now.ETag); err != nil {
				t.Errorf("delete what is not there: %v", err)
			}
		}
	}},
}
