package rpc_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// flip changes one bit of every data object under dir.
func flip(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d data objects changed, %v", n, err)
	}
}

// Damage on the disk is noticed before the client has the whole blob, and one
// who pushes it again repairs it.
func TestDamagedBlobIsNotDelivered(t *testing.T) {
	dir := t.TempDir()
	p := pushTo(t, start(t, openFolder(t, dir)).Conn)
	data := randomBytes(1, 12<<20)
	d := p.put(data)
	flip(t, dir)

	got, err := p.read(&pb.BlobsReadRequest{Digest: d})
	refused(t, err, codes.DataLoss, "DATA_CORRUPT")
	if len(got) >= len(data) {
		t.Errorf("all %d bytes were delivered before the error", len(got))
	}
}
