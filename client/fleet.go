package client

import (
	"context"
	"iter"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// Report replaces what the server knows of one node.
func (c *Client) Report(ctx context.Context, n *pb.Node) error {
	_, err := call(ctx, c, c.snapshots.Report, &pb.SnapshotsReportRequest{Node: n})
	return err
}

// Nodes lists what the nodes last reported, each with its containers, ordered by
// id; with nodeID only that one.
func (c *Client) Nodes(ctx context.Context, nodeID string) iter.Seq2[*pb.Node, error] {
	return func(yield func(*pb.Node, error) bool) {
		in := &pb.SnapshotsListContainersRequest{NodeId: nodeID, PageSize: pageSize}
		for {
			out, err := call(ctx, c, c.snapshots.ListContainers, in)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, n := range out.Nodes {
				if !yield(n, nil) {
					return
				}
			}
			if in.PageToken = out.NextPageToken; in.PageToken == "" {
				return
			}
		}
	}
}

// Register records a diff whose layer and image have been pushed. The caller
// chooses the id.
func (c *Client) Register(ctx context.Context, s *pb.Snapshot) (*pb.Snapshot, error) {
	out, err := call(ctx, c, c.snapshots.Register, &pb.SnapshotsRegisterRequest{Snapshot: s})
	return out.GetSnapshot(), err
}

// Snapshots lists the registered diffs, newest first; of one repository, or of
// all when repo is empty.
func (c *Client) Snapshots(ctx context.Context, repo reference.Repository) iter.Seq2[*pb.Snapshot, error] {
	return func(yield func(*pb.Snapshot, error) bool) {
		in := &pb.SnapshotsListRequest{Repository: string(repo), PageSize: pageSize}
		for {
			out, err := call(ctx, c, c.snapshots.List, in)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, s := range out.Snapshots {
				if !yield(s, nil) {
					return
				}
			}
			if in.PageToken = out.NextPageToken; in.PageToken == "" {
				return
			}
		}
	}
}

// Snapshot returns a registered diff.
func (c *Client) Snapshot(ctx context.Context, id string) (*pb.Snapshot, error) {
	out, err := call(ctx, c, c.snapshots.Get, &pb.SnapshotsGetRequest{Id: id})
	return out.GetSnapshot(), err
}

// DeleteSnapshot removes the registration of a diff, not the image made of it.
func (c *Client) DeleteSnapshot(ctx context.Context, id string) error {
	_, err := call(ctx, c, c.snapshots.Delete, &pb.SnapshotsDeleteRequest{Id: id})
	return err
}

// Usage says what is stored and what is shared; with refresh it is counted now,
// which reads every manifest.
func (c *Client) Usage(ctx context.Context, refresh bool) (*pb.UsageGetResponse, error) {
	return call(ctx, c, c.usage.Get, &pb.UsageGetRequest{Refresh: refresh})
}
