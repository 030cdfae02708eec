package transfer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registryPush writes to another registry.
type registryPush struct {
	*registry
	pusher *remote.Pusher
}

func createRegistry(ctx context.Context, l Location, plainHTTP []string) (*registryPush, error) {
	r, err := openRegistry(ctx, l, plainHTTP, transport.PushScope)
	if err != nil {
		return nil, err
	}
	p, err := remote.NewPusher(r.options()...)
	if err != nil {
		return nil, r.error(err)
	}
	return &registryPush{registry: r, pusher: p}, nil
}

// headsAtOnce is how many blobs a registry is asked for at once.
const headsAtOnce = 8

func (r *registryPush) Missing(ctx context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	lacks := make([]bool, len(blobs))
	index := make([]int, len(blobs))
	for i := range index {
		index[i] = i
	}
	err := each(ctx, headsAtOnce, index, func(ctx context.Context, i int) error {
		resp, err := r.blob(ctx, http.MethodHead, blobs[i], 0)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		lacks[i] = resp.StatusCode != http.StatusOK
		if err := transport.CheckError(resp, http.StatusOK, http.StatusNotFound); err != nil {
			return r.error(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var missing []ocispec.Descriptor
	for i, d := range blobs {
		if lacks[i] {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (r *registryPush) PutBlob(ctx context.Context, d ocispec.Descriptor, c Content) error {
	h, err := v1.NewHash(string(d.Digest))
	if err != nil {
		return at(r.loc, fail(ErrUnsupported, "%v", err))
	}
	err = r.pusher.Upload(ctx, r.ref.Context(), &registryBlob{ctx: ctx, hash: h, desc: d, content: c})
	switch e, ok := errors.AsType[*url.Error](err); {
	case err == nil:
		return nil
	case errors.Is(err, ErrDamaged) && ok: // what was read is at fault, and not the registry
		return e.Err
	}
	return r.error(err)
}

func (r *registryPush) PutManifest(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	return r.put(ctx, r.ref.Context().Digest(string(d.Digest)), d, b)
}

func (r *registryPush) Finish(ctx context.Context, root ocispec.Descriptor, b []byte) error {
	return r.put(ctx, r.ref, root, b)
}

func (r *registryPush) put(ctx context.Context, ref name.Reference, d ocispec.Descriptor, b []byte) error {
	if err := r.pusher.Push(ctx, ref, rawManifest{d.MediaType, b}); err != nil {
		return r.error(err)
	}
	return nil
}

// rawManifest is a manifest whose parts are there.
type rawManifest struct {
	mediaType string
	bytes     []byte
}

func (m rawManifest) RawManifest() ([]byte, error)        { return m.bytes, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.MediaType(m.mediaType), nil }

// registryBlob is what go-containerregistry uploads: any blob is a layer to it.
type registryBlob struct {
	ctx     context.Context
	hash    v1.Hash
	desc    ocispec.Descriptor
	content Content
}

func (b *registryBlob) Digest() (v1.Hash, error) { return b.hash, nil }
func (b *registryBlob) DiffID() (v1.Hash, error) { return b.hash, nil }
func (b *registryBlob) Size() (int64, error)     { return b.desc.Size, nil }
func (b *registryBlob) MediaType() (types.MediaType, error) {
	return types.MediaType(b.desc.MediaType), nil
}
func (b *registryBlob) Uncompressed() (io.ReadCloser, error) { return b.Compressed() }

func (b *registryBlob) Compressed() (io.ReadCloser, error) { return b.content.Open(b.ctx, 0) }
