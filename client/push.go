package client

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// CopyOptions of Push, Pull and Copy; the zero value is usable.
type CopyOptions struct {
	transfer.Options
	// MountFrom are repositories, at most 8, whose blobs are taken over instead
	// of being sent.
	MountFrom []reference.Repository
}

// Push copies the image in src to repo, and points tag at it unless that is
// empty. It sends no blob that the repository has. The server has stored the
// image then, and looks into its layers by and by: WaitLayers waits for that.
func (c *Client) Push(ctx context.Context, src transfer.Source, repo reference.Repository, tag reference.Tag, o CopyOptions) (transfer.Result, error) {
	dst := c.repository(repo, string(tag))
	dst.mountFrom = o.MountFrom
	return transfer.Copy(ctx, dst, src, o.Options)
}

// Pull copies an image from repo to dst, and finishes dst.
func (c *Client) Pull(ctx context.Context, dst transfer.Destination, repo reference.Repository, l reference.Locator, o CopyOptions) (transfer.Result, error) {
	return transfer.Copy(ctx, dst, c.Source(repo, l), o.Options)
}

// Source is an image on the server, as a source of package transfer.
func (c *Client) Source(repo reference.Repository, l reference.Locator) transfer.Source {
	return c.repository(repo, l.String())
}

// Copy points a tag of one repository at an image of another (or the same),
// without moving its bytes.
func (c *Client) Copy(ctx context.Context, from reference.Repository, l reference.Locator, to reference.Repository, tag reference.Tag, o CopyOptions) (transfer.Result, error) {
	o.MountFrom = append([]reference.Repository{from}, o.MountFrom...)
	return c.Push(ctx, c.Source(from, l), to, tag, o)
}

// A LayerError says that a layer of an image that was pushed cannot be used.
type LayerError struct {
	Repository reference.Repository
	Manifest   digest.Digest
	Layer      digest.Digest
	Number, Of int    // of the manifest's layers, from 1
	Problem    string // what is wrong, and the remedy
}

func (e *LayerError) Error() string {
	return fmt.Sprintf("the server has it, but layer %d of %d cannot be used, %s: %s", e.Number, e.Of, e.Layer, e.Problem)
}

// WaitLayers waits until the server has looked into all layers of the
// manifests. Errors: *LayerError for one that is no tar, or not the tar that the
// image's config says.
func (c *Client) WaitLayers(ctx context.Context, repo reference.Repository, manifests []ocispec.Descriptor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, m := range manifests {
		g.Go(func() error {
			out, err := call(ctx, c, c.images.Get, &pb.ImagesGetRequest{
				Repository: string(repo), Reference: string(m.Digest), WaitForLayers: true,
			})
			if err != nil {
				return err
			}
			for i, l := range out.Layers {
				if l.State == pb.LayerState_LAYER_STATE_INVALID {
					return &LayerError{repo, m.Digest, digest.Digest(l.Blob.GetDigest()), i + 1, len(out.Layers), l.Problem}
				}
			}
			return nil
		})
	}
	return g.Wait()
}
