package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client/transfer"
)

// push stores all that the image names: the new layer, its config, and those of
// the base's layers that the repository lacks.
func (a *Agent) push(ctx context.Context, c container, to *target, b *base, img *composed, l *layer, progress func(int64)) error {
	repo := to.ref.Repository
	want := []digest.Digest{l.Digest, img.configDesc.Digest}
	base := map[digest.Digest]ocispec.Descriptor{}
	for _, d := range img.layers {
		if len(d.URLs) == 0 { // else it is kept elsewhere
			want, base[d.Digest] = append(want, d.Digest), d
		}
	}
	missing, err := to.FindMissing(ctx, repo, want, b.repositories...)
	if err != nil {
		return err
	}
	for _, d := range missing {
		switch d {
		case l.Digest:
			err = to.Upload(ctx, repo, l.Descriptor, watched{transfer.Bytes(l.file, l.Size), progress})
		case img.configDesc.Digest:
			err = to.Upload(ctx, repo, img.configDesc, transfer.Bytes(bytes.NewReader(img.config), img.configDesc.Size))
		default:
			err = a.pushBase(namespaces.WithNamespace(ctx, c.Namespace), to, base[d])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pushBase uploads a layer of the base from containerd's content store.
func (a *Agent) pushBase(ctx context.Context, to *target, d ocispec.Descriptor) error {
	ra, err := a.containerd.ContentStore().ReaderAt(ctx, d)
	if errdefs.IsNotFound(err) {
		return status.Errorf(codes.FailedPrecondition,
			"layer %s of the container's image is neither on the server nor in containerd's content store; push the image to the server first", d.Digest)
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	defer ra.Close()
	return to.Upload(ctx, to.ref.Repository, d, transfer.Bytes(readerAt{ra}, d.Size))
}

// readerAt hides that closing is not the reader's business.
type readerAt struct{ content.ReaderAt }

// watched tells how far an upload has come. One that has to go back is told of
// as far as it had come.
type watched struct {
	transfer.Content
	progress func(int64)
}

func (w watched) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	rc, err := w.Content.Open(ctx, offset)
	if err != nil {
		return nil, err
	}
	r := &watchedReader{ReadCloser: rc, progress: w.progress}
	r.at.Store(offset)
	return r, nil
}

type watchedReader struct {
	io.ReadCloser
	at       atomic.Int64
	progress func(int64)
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.progress(r.at.Add(int64(n)))
	return n, err
}
