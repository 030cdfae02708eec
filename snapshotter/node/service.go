package node

import (
	"context"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// service answers lamina.v1.Containers. Each call has a file of its own.
type service struct {
	pb.UnimplementedContainersServer
	agent *Agent
}

// List implements lamina.v1.Containers.
func (s *service) List(ctx context.Context, _ *pb.ContainersListRequest) (*pb.ContainersListResponse, error) {
	n, err := s.agent.Node(ctx)
	if err != nil {
		return nil, asStatus(err)
	}
	return &pb.ContainersListResponse{Node: n}, nil
}
