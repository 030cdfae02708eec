package rpc

import (
	"context"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/laminastore/lamina/blobstore/fleet"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
)

// pageBytes is the size from which on a page takes no more entries, however
// many it may have: clients in most languages take 4 MiB at once.
const pageBytes = 2 << 20

type snapshots struct {
	pb.UnimplementedSnapshotsServer
	fleet *fleet.Fleet
	open  bool // nobody is asked who they are
}

// reporter is who speaks for the node id.
func (s *snapshots) reporter(ctx context.Context, id string) fleet.Reporter {
	if s.open {
		return fleet.Reporter{}
	}
	c := access.From(ctx)
	return fleet.Reporter{Subject: c.Subject(), Proven: c.NodeID() != "" && c.NodeID() == id}
}

// find returns the snapshot that the caller named by its id. One whose image it may not pull is to it as one that is not there.
func (s *snapshots) find(ctx context.Context, id string) (fleet.Snapshot, error) {
	snap, err := s.fleet.Snapshot(ctx, id)
	if err == nil && !sees(access.From(ctx), snap.Repository) {
		return fleet.Snapshot{}, fleet.NoSnapshot(id)
	}
	return snap, err
}

func (s *snapshots) Report(ctx context.Context, in *pb.SnapshotsReportRequest) (*pb.SnapshotsReportResponse, error) {
	if in.Node == nil {
		return nil, argument("node", "missing")
	}
	n, err := parseNode(in.Node)
	if err != nil {
		return nil, err
	}
	n.Reporter = s.reporter(ctx, n.ID)
	return &pb.SnapshotsReportResponse{}, s.fleet.Report(ctx, n)
}

func (s *snapshots) ListContainers(ctx context.Context, in *pb.SnapshotsListContainersRequest) (*pb.SnapshotsListContainersResponse, error) {
	size, err := pageSize(in.PageSize)
	if err != nil {
		return nil, err
	}
	out := &pb.SnapshotsListContainersResponse{}
	if in.NodeId != "" {
		n, ok, err := s.fleet.Node(ctx, in.NodeId)
		if ok {
			out.Nodes = append(out.Nodes, node(n))
		}
		return out, err
	}
	of := callKey(pb.Snapshots_ListContainers_FullMethodName)
	after, _, err := decodeToken(in.PageToken, of, fleet.CheckNodeID)
	if err != nil {
		return nil, err
	}
	bytes := 0
	for n, err := range s.fleet.Nodes(ctx, after) {
		if err != nil {
			return nil, err
		}
		m := node(n)
		bytes += proto.Size(m)
		if k := len(out.Nodes); k == size || k > 0 && bytes > pageBytes {
			out.NextPageToken, err = encodeToken(of, out.Nodes[k-1].Id)
			return out, err
		}
		out.Nodes = append(out.Nodes, m)
	}
	return out, nil
}

func (s *snapshots) Register(ctx context.Context, in *pb.SnapshotsRegisterRequest) (*pb.SnapshotsRegisterResponse, error) {
	if in.Snapshot == nil {
		return nil, argument("snapshot", "missing")
	}
	snap, err := parseSnapshot(in.Snapshot)
	if err != nil {
		return nil, err
	}
	snap.Reporter = s.reporter(ctx, snap.NodeID)
	if snap, err = s.fleet.Register(ctx, snap); err != nil {
		return nil, err
	}
	return &pb.SnapshotsRegisterResponse{Snapshot: snapshot(snap)}, nil
}

func (s *snapshots) List(ctx context.Context, in *pb.SnapshotsListRequest) (*pb.SnapshotsListResponse, error) {
	size, err := pageSize(in.PageSize)
	if err != nil {
		return nil, err
	}
	var repo reference.Repository
	if in.Repository != "" {
		if repo, err = reference.ParseRepository(in.Repository); err != nil {
			return nil, err
		}
	}
	of := callKey(pb.Snapshots_List_FullMethodName, repo)
	before, _, err := decodeToken(in.PageToken, of, checkULID)
	if err != nil {
		return nil, err
	}
	out := &pb.SnapshotsListResponse{}
	bytes, looked := 0, 0
	caller, last := access.From(ctx), ""
	for snap, err := range s.fleet.Snapshots(ctx, repo, before) {
		if err != nil {
			return nil, err
		}
		if looked++; looked > maxLooked {
			// The id tells nothing but the time, and opens nothing.
			out.NextPageToken, err = encodeToken(of, last)
			return out, err
		}
		last = snap.ID
		if !sees(caller, snap.Repository) {
			continue
		}
		m := snapshot(snap)
		bytes += proto.Size(m)
		if k := len(out.Snapshots); k == size || k > 0 && bytes > pageBytes {
			out.NextPageToken, err = encodeToken(of, out.Snapshots[k-1].Id)
			return out, err
		}
		out.Snapshots = append(out.Snapshots, m)
	}
	return out, nil
}

func checkULID(id string) error {
	_, err := ulid.ParseStrict(id)
	return err
}

func (s *snapshots) Get(ctx context.Context, in *pb.SnapshotsGetRequest) (*pb.SnapshotsGetResponse, error) {
	snap, err := s.find(ctx, in.Id)
	if err != nil {
		return nil, err
	}
	return &pb.SnapshotsGetResponse{Snapshot: snapshot(snap)}, nil
}

func (s *snapshots) Delete(ctx context.Context, in *pb.SnapshotsDeleteRequest) (*pb.SnapshotsDeleteResponse, error) {
	if !s.open {
		snap, err := s.find(ctx, in.Id)
		if err != nil {
			return nil, err
		}
		if err := may(access.From(ctx), access.Delete, snap.Repository); err != nil {
			return nil, err
		}
	}
	return &pb.SnapshotsDeleteResponse{}, s.fleet.DeleteSnapshot(ctx, in.Id)
}
