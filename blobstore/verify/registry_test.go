package verify_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/client/transfer"
)

// A registry is an image of another registry, as those see it who copy from there.
type registry struct{ transfer.Source }

func (r registry) Open(ctx context.Context, d digest.Digest, size int64) (io.ReadCloser, error) {
	desc := ocispec.Descriptor{Digest: d, Size: size}
	if rc, err := r.Source.Open(ctx, desc, 0); err == nil {
		return rc, nil
	}
	b, err := r.Manifest(ctx, desc)
	return io.NopCloser(bytes.NewReader(b)), err
}

// On a real S3 server, and from a real registry: what was damaged is found, and
// comes back.
func TestOnS3FromARegistry(t *testing.T) {
	url := servers.MinIO(t)
	b, err := open.Bucket(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	c := storetest.NewClock()
	c.Turn(time.Since(c.Now()))
	w := newWorld(t, b, c)
	i := w.image(repo, "a", "v1")
	w.image(other, "b", "v1")
	w.clean()

	srv := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	place, err := transfer.ParseLocation("docker://" + strings.TrimPrefix(srv.URL, "http://") + "/mirror/app:v1")
	w.must(err)
	dst, err := transfer.Create(t.Context(), place, transfer.OpenOptions{})
	w.must(err)
	for d, b := range i.Blobs {
		w.must(dst.PutBlob(t.Context(), ocispec.Descriptor{Digest: d, Size: int64(len(b))}, transfer.Bytes(bytes.NewReader(b), int64(len(b)))))
	}
	w.must(dst.Finish(t.Context(), i.Descriptor(), i.Manifest))
	w.must(dst.Close())

	w.flip(w.data(large(i)))
	w.set(blobstore.BlobKey(i.Config), []byte("not any more"))
	w.remove(blobstore.BlobKey(i.Layers[0]))
	if r := w.run(verify.RunOptions{}); r.Damaged != 1 || r.Unreadable != 1 || r.PartsGone != 1 || r.Bad != 3 {
		t.Fatalf("%+v%s", r, show(r))
	}
	src, err := transfer.Open(t.Context(), place, transfer.OpenOptions{})
	w.must(err)
	defer src.Close()
	r := w.run(verify.RunOptions{Repair: true, From: registry{src}})
	if r.Repaired != 3 || r.Bad != 0 {
		t.Fatalf("%+v%s", r, show(r))
	}
	w.clean()
	w.must(w.pull(repo, i, "v1"))
	// A manifest too.
	w.remove(blobstore.BlobKey(i.Digest))
	if r := w.run(verify.RunOptions{Repair: true, From: registry{src}}); r.Repaired != 1 || r.Bad != 0 {
		t.Fatalf("%+v%s", r, show(r))
	}
	w.clean()
}
