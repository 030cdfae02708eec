package client

import (
	"context"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// Resolve says what a tag or digest names. With a platform ("linux/arm64") and
// where an index is named, it is the manifest for it.
func (c *Client) Resolve(ctx context.Context, repo reference.Repository, l reference.Locator, platform string) (ocispec.Descriptor, error) {
	out, err := call(ctx, c, c.images.Resolve, &pb.ImagesResolveRequest{Repository: string(repo), Reference: l.String(), Platform: platform})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return descriptor(out.Manifest), nil
}

// Manifest returns the bytes of a manifest or an index as they were pushed.
func (c *Client) Manifest(ctx context.Context, repo reference.Repository, l reference.Locator) (ocispec.Descriptor, []byte, error) {
	out, err := call(ctx, c, c.images.GetManifest, &pb.ImagesGetManifestRequest{Repository: string(repo), Reference: l.String()})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return descriptor(out.Manifest), out.ManifestBytes, nil
}

// Image returns a manifest, its config and what is known of its layers; of an
// index, those for the platform (empty: the server's).
func (c *Client) Image(ctx context.Context, repo reference.Repository, l reference.Locator, platform string) (*pb.ImagesGetResponse, error) {
	return call(ctx, c, c.images.Get, &pb.ImagesGetRequest{Repository: string(repo), Reference: l.String(), Platform: platform})
}

// History returns what made an image, oldest first.
func (c *Client) History(ctx context.Context, repo reference.Repository, l reference.Locator, platform string) ([]*pb.HistoryEntry, error) {
	out, err := call(ctx, c, c.images.History, &pb.ImagesHistoryRequest{Repository: string(repo), Reference: l.String(), Platform: platform})
	return out.GetEntries(), err
}

// Images lists the tags of all repositories whose names begin with prefix, and
// with untagged also the manifests that no tag names.
func (c *Client) Images(ctx context.Context, prefix string, untagged bool) iter.Seq2[*pb.Image, error] {
	return func(yield func(*pb.Image, error) bool) {
		in := &pb.ImagesListRequest{Prefix: prefix, Untagged: untagged, PageSize: pageSize}
		for {
			out, err := call(ctx, c, c.images.List, in)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, i := range out.Images {
				if !yield(i, nil) {
					return
				}
			}
			if in.PageToken = out.NextPageToken; in.PageToken == "" {
				return
			}
		}
	}
}

// pageSize is how much is asked for at once of what comes in pages.
const pageSize = 500

// PutManifest stores a manifest, all of whose parts must be in repo, and points
// tags at it.
func (c *Client) PutManifest(ctx context.Context, repo reference.Repository, d ocispec.Descriptor, b []byte, tags ...reference.Tag) error {
	in := &pb.ImagesPutRequest{Repository: string(repo), Manifest: b, MediaType: d.MediaType, Digest: string(d.Digest)}
	for _, t := range tags {
		in.Tags = append(in.Tags, string(t))
	}
	_, err := call(ctx, c, c.images.Put, in)
	return err
}

// Tag points a tag at a manifest of the same repository.
func (c *Client) Tag(ctx context.Context, repo reference.Repository, t reference.Tag, d digest.Digest) error {
	_, err := call(ctx, c, c.images.Tag, &pb.ImagesTagRequest{Repository: string(repo), Tag: string(t), Digest: string(d)})
	return err
}

// Delete removes a tag; or a manifest, when l has a digest, and all tags that
// name it.
func (c *Client) Delete(ctx context.Context, repo reference.Repository, l reference.Locator) error {
	p := c.patience()
	for again := false; ; again = true {
		_, err := c.images.Delete(ctx, &pb.ImagesDeleteRequest{Repository: string(repo), Reference: l.String()})
		if err == nil || again && ReasonOf(asError(err, c.addr)) == pb.Reason_REASON_MANIFEST_UNKNOWN {
			// Gone at the second try: the first had an answer that was lost.
			c.contacted.Store(true)
			return nil
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}
