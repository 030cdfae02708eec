package rpc

import (
	"context"

	"github.com/laminastore/lamina/blobstore/usage"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

type usageService struct {
	pb.UnimplementedUsageServer
	usage *usage.Counter
}

func (s *usageService) Get(ctx context.Context, in *pb.UsageGetRequest) (*pb.UsageGetResponse, error) {
	u, err := s.usage.Get(ctx, in.Refresh)
	if err != nil {
		return nil, err
	}
	out := &pb.UsageGetResponse{
		CountedAt: timestamp(u.CountedAt), NamedBytes: u.Named, StoredBytes: u.Stored, SavedBytes: u.Named - u.Stored,
		HeldBytes: u.Held, UnnamedBytes: u.Unnamed, CondemnedBytes: u.Condemned, DrainingBytes: u.Draining,
		Blobs: u.Blobs, Manifests: u.Manifests, Shared: sharedBlobs(u.Shared), LargestBlobs: sharedBlobs(u.LargestBlobs),
		LargestImages: imageUsages(u.Largest), OldestImages: imageUsages(u.Oldest),
	}
	for _, r := range u.Repositories {
		out.Repositories = append(out.Repositories, &pb.RepositoryUsage{
			Repository: string(r.Name), Tags: r.Tags, Manifests: r.Manifests,
			NamedBytes: r.Named, StoredBytes: r.Stored, OwnBytes: r.Own, OldestAt: timestamp(r.Oldest),
		})
	}
	return out, nil
}

func sharedBlobs(blobs []usage.Shared) (out []*pb.SharedBlob) {
	for _, b := range blobs {
		shared := &pb.SharedBlob{Digest: b.Digest.String(), Size: b.Size, Images: b.Images}
		for _, r := range b.Repositories {
			shared.Repositories = append(shared.Repositories, string(r))
		}
		out = append(out, shared)
	}
	return out
}

func imageUsages(images []usage.Image) (out []*pb.ImageUsage) {
	for _, i := range images {
		out = append(out, &pb.ImageUsage{
			Repository: string(i.Repository), Digest: i.Digest.String(), Size: i.Size, PushedAt: timestamp(i.Pushed),
		})
	}
	return out
}
