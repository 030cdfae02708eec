package buckettest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var listTests = []test{
	{"an empty bucket lists nothing", func(t *testing.T, b bucket.Bucket) {
		wantKeys(t, b, "", "", nil)
		wantKeys(t, b, "a/b", "", nil)
		wantKeys(t, b, "", "a", nil)
	}},
	{"the order is that of the bytes, also across the slash", func(t *testing.T, b bucket.Bucket) {
		sorted := []string{
			"A", "Z/z", "_", "a+b", "a-b", "a-c/c", "a.b", "a.c/c", "a/+", "a/-/x", "a/b", "a/b-c", "a/b0", "a/c/c", "a/~",
			"a0", "a00/b", "a:", "a=", "aZ", "a_", "aa", "a~", "b/a/a/a", "~",
		}
		slices.Sort(sorted)
		shuffled := slices.Clone(sorted)
		slices.Reverse(shuffled[:len(shuffled)/2])
		putAll(t, b, shuffled...)
		wantKeys(t, b, "", "", sorted)
		for _, after := range append(sorted, "", "+", "Z", "a", "a/", "a/b/", "a/c/b", "a-", "a0/", "zzz", "~~", "a/c/c/d", "b/a", "b/a/a/a/a") {
			i, found := slices.BinarySearch(sorted, after)
			if found {
				i++
			}
			wantKeys(t, b, "", after, sorted[i:])
		}
		for _, prefix := range []string{"a", "a/", "a/b", "a/c", "a/c/", "a-", "a-c/", "b", "b/a/a/a", "b/a/a/a/", "c", "a/c/c/d", "Z/z"} {
			var under []string
			for _, key := range sorted {
				if strings.HasPrefix(key, prefix) {
					under = append(under, key)
				}
			}
			wantKeys(t, b, prefix, "", under)
			wantKeys(t, b, prefix, "0", slices.DeleteFunc(slices.Clone(under), func(k string) bool { return k <= "0" }))
			wantKeys(t, b, prefix, "a/b", slices.DeleteFunc(slices.Clone(under), func(k string) bool { return k <= "a/b" }))
			wantKeys(t, b, prefix, "~~", nil)
		}
	}},
	{"more than a page", func(t *testing.T, b bucket.Bucket) {
		var keys []string
		for i := range 1050 {
			keys = append(keys, fmt.Sprintf("p/%d/%04d", i%3, i))
		}
		putAll(t, b, keys...)
		slices.Sort(keys)
		wantKeys(t, b, "p/", "", keys)
		wantKeys(t, b, "", keys[500], keys[501:])
		wantKeys(t, b, "p/1", keys[0], keys[350:700])
		// It may be left at any point.
		var some []string
		for info, err := range b.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if some = append(some, info.Key); len(some) == 1001 {
				break
			}
		}
		if !slices.Equal(some, keys[:1001]) {
			t.Errorf("the first 1001 keys are %d from %s to %s", len(some), some[0], some[len(some)-1])
		}
	}},
	{"Info is the object's", func(t *testing.T, b bucket.Bucket) {
		small := put(t, b, "i/a", []byte("abc"), bucket.Condition{})
		large := put(t, b, "i/b", content(300<<10, 1), bucket.Condition{})
		want := []bucket.Info{small, large}
		for info, err := range b.List(t.Context(), "i/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if info.Key != want[0].Key || info.Size != want[0].Size || info.ETag != want[0].ETag || info.Modified.IsZero() {
				t.Errorf("%+v, put said %+v", info, want[0])
			}
			want = want[1:]
		}
	}},
	{"what is written and deleted meanwhile does not disturb", func(t *testing.T, b bucket.Bucket) {
		var stay []string
		for i := range 60 {
			stay = append(stay, fmt.Sprintf("s/%02d", i))
		}
		putAll(t, b, stay...)
		putAll(t, b, "s/30-goes", "s/59-goes/x")
		var seen []string
		for info, err := range b.List(t.Context(), "s/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) == 0 {
				putAll(t, b, "s/00-new", "s/40-new/x", "s/59-new")
				if err := b.Delete(t.Context(), "s/30-goes", "s/59-goes/x"); err != nil {
					t.Fatal(err)
				}
			}
			seen = append(seen, info.Key)
		}
		if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
			t.Errorf("not in order, or twice: %q", seen)
		}
		for _, key := range stay {
			if !slices.Contains(seen, key) {
				t.Errorf("%s was there throughout and not listed", key)
			}
		}
	}},
}

// wantKeys fails the test unless a listing yields exactly these keys.
func wantKeys(t *testing.T, b bucket.Bucket, prefix, startAfter string, want []string) {
	t.Helper()
	var have []string
	for info, err := range b.List(t.Context(), prefix, startAfter) {
		if err != nil {
			t.Fatalf("list %q after %q: %v", prefix, startAfter, err)
		}
		have = append(have, info.Key)
	}
	if !slices.Equal(have, want) {
		if len(have)+len(want) > 200 {
			t.Fatalf("list %q after %q: %d keys, want %d", prefix, startAfter, len(have), len(want))
		}
		t.Fatalf("list %q after %q:\n     %q\nwant %q", prefix, startAfter, have, want)
	}
}
