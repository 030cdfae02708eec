package count_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

func TestContract(t *testing.T) {
	buckettest.Test(t, func(*testing.T) bucket.Bucket { return count.New(memory.New(memory.Options{})).Whole() })
}

func TestPagesCount(t *testing.T) {
	b := count.New(memory.New(memory.Options{}))
	var keys []string
	for i := range 2001 {
		k := "a/" + strconv.Itoa(i)
		keys = append(keys, k)
		if _, err := b.Put(t.Context(), k, strings.NewReader("x"), 1, bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	b.Reset()
	for _, err := range b.List(t.Context(), "a/", "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range b.List(t.Context(), "b/", "") {
		t.Fatal("listed")
	}
	if err := b.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	if c := b.Snapshot(); c.List != 4 || c.Delete != 3 || c.Total() != 7 {
		t.Fatal(c)
	}
}
