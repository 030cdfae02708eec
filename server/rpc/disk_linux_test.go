package rpc_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/internal/needs"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// smallDisk mounts a filesystem of that size until the test ends.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	needs.Root(t)
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	needs.That(t, err == nil, "needs to mount a tmpfs")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A disk that is full is told as such; nothing can be seen of what did not fit,
// and once there is room the upload goes on.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, "32m")
	p := pushTo(t, start(t, openFolder(t, filepath.Join(dir, "bucket"))).Conn)
	data := randomBytes(1, 24<<20)
	d := digest.FromBytes(data).String()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	_ = send(stream, 0, data, &pb.BlobsWriteRequest{}) // fails once the server has said why
	_, err = stream.Recv()
	refused(t, err, codes.ResourceExhausted, "BUCKET_FULL")
	p.mustBeUnknown(d)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	last, err := p.write(&pb.BlobsWriteRequest{UploadId: answer.UploadId, Digest: d}, data)
	if err != nil || last.Blob.GetDigest() != d {
		t.Fatalf("%v %v", last, err)
	}
	p.mustRead(d, data)
}
