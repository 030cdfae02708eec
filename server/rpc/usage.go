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
		CountedAt: timestamp(u.CountedAt), NamedBytes: u.Named, StoredBytes: u.Stored, UnnamedBytes: u.Unnamed,
		Blobs: u.Blobs, Manifests: u.Manifests,
	}
	for _, r := range u.Repositories {
		out.Repositories = append(out.Repositories, &pb.RepositoryUsage{
			Repository: string(r.Name), Tags: r.Tags, Manifests: r.Manifests,
			NamedBytes: r.Named, StoredBytes: r.Stored, OwnBytes: r.Own,
		})
	}
	for _, b := range u.Shared {
		shared := &pb.SharedBlob{Digest: b.Digest.String(), Size: b.Size, Images: b.Images}
		for _, r := range b.Repositories {
			shared.Repositories = append(shared.Repositories, string(r))
		}
		out.Shared = append(out.Shared, shared)
	}
	return out, nil
}
