package rpc

import (
	"context"
	"errors"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/layers"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/cursor"
)

type imageService struct {
	pb.UnimplementedImagesServer
	images  *images.Images
	cursors *cursor.Sealer
}

// imageName checks what names an image in nearly every call.
func imageName(repository, ref string) (reference.Repository, reference.Locator, error) {
	repo, err := reference.ParseRepository(repository)
	if err != nil {
		return "", reference.Locator{}, err
	}
	l, err := reference.ParseLocator(ref)
	return repo, l, err
}

func (s *imageService) Resolve(ctx context.Context, in *pb.ImagesResolveRequest) (*pb.ImagesResolveResponse, error) {
	repo, l, err := imageName(in.Repository, in.Reference)
	if err != nil {
		return nil, err
	}
	if in.Platform != "" {
		img, err := s.images.Image(ctx, repo, l, in.Platform)
		if err != nil {
			return nil, err
		}
		return &pb.ImagesResolveResponse{Manifest: descriptor(img.Manifest.Descriptor)}, nil
	}
	d, err := s.images.Resolve(ctx, repo, l)
	if err != nil {
		return nil, err
	}
	return &pb.ImagesResolveResponse{Manifest: descriptor(d)}, nil
}

func (s *imageService) GetManifest(ctx context.Context, in *pb.ImagesGetManifestRequest) (*pb.ImagesGetManifestResponse, error) {
	repo, l, err := imageName(in.Repository, in.Reference)
	if err != nil {
		return nil, err
	}
	m, err := s.images.Get(ctx, repo, l)
	if err != nil {
		return nil, err
	}
	return &pb.ImagesGetManifestResponse{Manifest: descriptor(m.Descriptor), ManifestBytes: m.Bytes}, nil
}

func (s *imageService) Get(ctx context.Context, in *pb.ImagesGetRequest) (*pb.ImagesGetResponse, error) {
	repo, l, err := imageName(in.Repository, in.Reference)
	if err != nil {
		return nil, err
	}
	img, err := s.images.Image(ctx, repo, l, in.Platform)
	if err != nil {
		return nil, err
	}
	if in.WaitForLayers {
		if err := s.images.WaitLayers(ctx, repo, &img); err != nil {
			return nil, err
		}
	}
	out := &pb.ImagesGetResponse{
		Target: descriptor(img.Target), Manifest: descriptor(img.Manifest.Descriptor), ManifestBytes: img.Manifest.Bytes,
		ConfigBytes: img.ConfigBytes,
	}
	if img.Config.Digest != "" {
		out.Config = descriptor(img.Config)
	}
	for _, l := range img.Layers {
		out.Layers = append(out.Layers, layer(l))
	}
	for _, p := range img.Platforms {
		out.Platforms = append(out.Platforms, &pb.PlatformManifest{Manifest: descriptor(p.Descriptor), Platform: p.Platform})
	}
	return out, nil
}

func (s *imageService) Put(ctx context.Context, in *pb.ImagesPutRequest) (*pb.ImagesPutResponse, error) {
	repo, err := reference.ParseRepository(in.Repository)
	if err != nil {
		return nil, err
	}
	if n := len(in.Tags); n > images.MaxTags {
		return nil, argument("tags", "%d of them, at most %d; use Tag for the others", n, images.MaxTags)
	}
	o := images.PutOptions{MediaType: in.MediaType, Bytes: in.Manifest}
	for _, t := range in.Tags {
		tag, err := reference.ParseTag(t)
		if err != nil {
			return nil, err
		}
		o.Tags = append(o.Tags, tag)
	}
	if o.Expect, err = expect(in.ExpectedDigest); err != nil {
		return nil, err
	}
	if in.Digest != "" {
		if o.Digest, err = reference.ParseDigest(in.Digest); err != nil {
			return nil, err
		}
	}
	m, err := s.images.Put(ctx, repo, o)
	if err != nil {
		return nil, tooLarge(err)
	}
	return &pb.ImagesPutResponse{Manifest: descriptor(m.Descriptor)}, nil
}

// tooLarge tells the one thing that is too large about a manifest from the
// many that may be about a request.
func tooLarge(err error) error {
	var e *blobstore.Error
	if errors.As(err, &e) && errors.Is(e.Class, blobstore.ErrTooLarge) {
		large := *e
		large.Class = errManifestTooLarge
		return &large
	}
	return err
}

// expect reads expected_digest.
func expect(s string) (images.Expect, error) {
	switch s {
	case "":
		return images.Expect{}, nil
	case "absent":
		return images.ExpectAbsent(), nil
	}
	d, err := reference.ParseDigest(s)
	return images.ExpectDigest(d), err
}

func (s *imageService) Tag(ctx context.Context, in *pb.ImagesTagRequest) (*pb.ImagesTagResponse, error) {
	repo, d, err := blobName(in.Repository, in.Digest)
	if err != nil {
		return nil, err
	}
	tag, err := reference.ParseTag(in.Tag)
	if err != nil {
		return nil, err
	}
	e, err := expect(in.ExpectedDigest)
	if err != nil {
		return nil, err
	}
	return &pb.ImagesTagResponse{}, s.images.Tag(ctx, repo, tag, d, e)
}

func (s *imageService) Delete(ctx context.Context, in *pb.ImagesDeleteRequest) (*pb.ImagesDeleteResponse, error) {
	repo, l, err := imageName(in.Repository, in.Reference)
	if err != nil {
		return nil, err
	}
	if l.Digest != "" {
		err = s.images.Delete(ctx, repo, l.Digest)
	} else {
		err = s.images.Untag(ctx, repo, l.Tag)
	}
	return &pb.ImagesDeleteResponse{}, err
}

func (s *imageService) History(ctx context.Context, in *pb.ImagesHistoryRequest) (*pb.ImagesHistoryResponse, error) {
	repo, l, err := imageName(in.Repository, in.Reference)
	if err != nil {
		return nil, err
	}
	img, err := s.images.Image(ctx, repo, l, in.Platform)
	if err != nil {
		return nil, err
	}
	out := &pb.ImagesHistoryResponse{}
	for _, h := range img.History {
		e := &pb.HistoryEntry{CreatedAt: timestamp(h.Created), CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Layer >= 0 && h.Layer < len(img.Layers) {
			e.Layer = layer(img.Layers[h.Layer])
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

func layer(l images.Layer) *pb.Layer {
	return &pb.Layer{
		Blob: descriptor(l.Blob), DiffId: l.DiffID.String(), ChainId: l.ChainID.String(),
		State: layerStates[l.State], Problem: l.Problem,
	}
}

var layerStates = map[layers.State]pb.LayerState{
	layers.Pending: pb.LayerState_LAYER_STATE_PENDING,
	layers.Plain:   pb.LayerState_LAYER_STATE_PLAIN,
	layers.Invalid: pb.LayerState_LAYER_STATE_INVALID,
	layers.Opaque:  pb.LayerState_LAYER_STATE_OPAQUE,
}
