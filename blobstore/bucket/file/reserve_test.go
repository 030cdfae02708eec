package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// On a disk without a byte left, what is there can be changed, and so be given
// up: room is what that makes. Nothing new takes the room that is kept for it.
func TestAFullDiskLetsWhatIsThereBeChanged(t *testing.T) {
	dir := mountTmpfs(t, "size=16m")
	b := openTest(t, dir)
	put := func(key string, size int, cond bucket.Condition) (bucket.ETag, error) {
		info, err := b.Put(t.Context(), key, bytes.NewReader(make([]byte, size)), int64(size), cond)
		return info.ETag, err
	}
	small, err := put("small", 90<<10, bucket.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put("large", 4<<20, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = ballast.Write(make([]byte, 4<<10))
	}
	_ = ballast.Close()
	id, err := b.CreateMultipart(t.Context(), "parts")
	if err == nil {
		_, err = b.PutPart(t.Context(), "parts", id, 1, bytes.NewReader(make([]byte, 1<<20)), 1<<20)
	}
	if !errors.Is(err, bucket.ErrFull) {
		t.Errorf("put part: %v", err)
	}
	for range 10 {
		if small, err = put("small", 90<<10, bucket.Condition{IfMatch: small}); err != nil {
			t.Fatalf("change: %v", err)
		}
		if _, err := put("new", 4<<10, bucket.Condition{IfAbsent: true}); !errors.Is(err, bucket.ErrFull) {
			t.Fatalf("put what is new: %v", err)
		}
	}
	if err := b.Delete(t.Context(), "large"); err != nil {
		t.Fatal(err)
	}
	if _, err := put("new", 1<<20, bucket.Condition{IfAbsent: true}); err != nil {
		t.Errorf("put when there is room again: %v", err)
	}
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	if !b.fillReserve() {
		t.Error("the reserve is not whole again")
	}
}
