package client

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// A repository is a place for package transfer to copy from or to.
type repository struct {
	c         *Client
	repo      reference.Repository
	locator   string
	mountFrom []reference.Repository

	mu   sync.Mutex
	root *pb.ImagesGetManifestResponse // once it has been asked for
}

func (c *Client) repository(repo reference.Repository, locator string) *repository {
	return &repository{c: c, repo: repo, locator: locator}
}

func (r *repository) Root(ctx context.Context) (ocispec.Descriptor, error) {
	out, err := call(ctx, r.c, r.c.images.GetManifest, &pb.ImagesGetManifestRequest{Repository: string(r.repo), Reference: r.locator})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.root = out
	return descriptor(out.Manifest), nil
}

func (r *repository) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	r.mu.Lock()
	root := r.root
	r.mu.Unlock()
	if root != nil && root.Manifest.GetDigest() == string(d.Digest) {
		return root.ManifestBytes, nil
	}
	out, err := call(ctx, r.c, r.c.images.GetManifest, &pb.ImagesGetManifestRequest{Repository: string(r.repo), Reference: string(d.Digest)})
	if err != nil {
		return nil, err
	}
	return out.ManifestBytes, nil
}

func (r *repository) Open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	return r.c.Read(ctx, r.repo, d.Digest, offset, 0)
}

func (r *repository) Missing(ctx context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var ds []digest.Digest
	for _, d := range blobs {
		ds = append(ds, d.Digest)
	}
	lacks, err := r.c.FindMissing(ctx, r.repo, ds, r.mountFrom...)
	if err != nil {
		return nil, err
	}
	set := map[digest.Digest]bool{}
	for _, d := range lacks {
		set[d] = true
	}
	var missing []ocispec.Descriptor
	for _, d := range blobs {
		if set[d.Digest] {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (r *repository) PutBlob(ctx context.Context, d ocispec.Descriptor, c transfer.Content) error {
	return r.c.Upload(ctx, r.repo, d, c)
}

func (r *repository) PutManifest(ctx context.Context, d ocispec.Descriptor, b []byte) error {
	return r.c.PutManifest(ctx, r.repo, d, b)
}

func (r *repository) Finish(ctx context.Context, root ocispec.Descriptor, b []byte) error {
	var tags []reference.Tag
	if r.locator != "" {
		tags = append(tags, reference.Tag(r.locator))
	}
	return r.c.PutManifest(ctx, r.repo, root, b, tags...)
}

func (r *repository) Close() error { return nil }

func (r *repository) String() string {
	if r.locator == "" {
		return string(r.repo)
	}
	sep := ":"
	if _, err := reference.ParseDigest(r.locator); err == nil {
		sep = "@"
	}
	return string(r.repo) + sep + r.locator
}

func descriptor(d *pb.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.GetMediaType(), Digest: digest.Digest(d.GetDigest()), Size: d.GetSize()}
}
