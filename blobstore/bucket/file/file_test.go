package file

import (
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
)

func openTest(t *testing.T, dir string) *Bucket {
	t.Helper()
	b, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestContract(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(t *testing.T) bucket.Bucket { return openTest(t, t.TempDir()) })
}
