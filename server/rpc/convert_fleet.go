package rpc

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/fleet"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

var containerStates = map[pb.ContainerState]fleet.ContainerState{
	pb.ContainerState_CONTAINER_STATE_UNSPECIFIED: fleet.Unknown,
	pb.ContainerState_CONTAINER_STATE_CREATED:     fleet.Created,
	pb.ContainerState_CONTAINER_STATE_RUNNING:     fleet.Running,
	pb.ContainerState_CONTAINER_STATE_PAUSED:      fleet.Paused,
	pb.ContainerState_CONTAINER_STATE_STOPPED:     fleet.Stopped,
}

func containerState(s fleet.ContainerState) pb.ContainerState {
	for p, f := range containerStates {
		if f == s {
			return p
		}
	}
	return pb.ContainerState_CONTAINER_STATE_UNSPECIFIED
}

func node(n fleet.Node) *pb.Node {
	out := &pb.Node{Id: n.ID, Hostname: n.Hostname, Version: n.Version, ReportedAt: timestamp(n.ReportedAt)}
	for _, c := range n.Containers {
		out.Containers = append(out.Containers, container(c))
	}
	return out
}

func container(c fleet.Container) *pb.Container {
	return &pb.Container{
		Namespace: c.Namespace, Id: c.ID, Image: c.Image, ImageDigest: c.ImageDigest.String(), ChainId: c.ChainID.String(),
		State: containerState(c.State), CreatedAt: timestamp(c.CreatedAt),
		WrittenBytes: c.WrittenBytes, WrittenInodes: c.WrittenInodes, NodeId: c.NodeID, Labels: c.Labels,
	}
}

func snapshot(s fleet.Snapshot) *pb.Snapshot {
	out := &pb.Snapshot{
		Id: s.ID, Repository: string(s.Repository), Image: descriptor(s.Image), Tag: string(s.Tag),
		ParentChainId: s.ParentChainID.String(), ChainId: s.ChainID.String(),
		Diff: descriptor(s.Diff), DiffId: s.DiffID.String(),
		Container: container(s.Container), NodeId: s.NodeID, CreatedAt: timestamp(s.CreatedAt), PausedUs: s.Paused.Microseconds(),
	}
	for _, d := range s.ParentDiffIDs {
		out.ParentDiffIds = append(out.ParentDiffIds, d.String())
	}
	return out
}

// parseNode checks the form of a report; whether it makes sense is for fleet.
func parseNode(in *pb.Node) (fleet.Node, error) {
	n := fleet.Node{ID: in.Id, Hostname: in.Hostname, Version: in.Version}
	for i, c := range in.Containers {
		parsed, err := parseContainer(fmt.Sprintf("node.containers[%d]", i), c)
		if err != nil {
			return fleet.Node{}, err
		}
		n.Containers = append(n.Containers, parsed)
	}
	return n, nil
}

func parseContainer(field string, in *pb.Container) (c fleet.Container, err error) {
	if in == nil {
		return c, nil
	}
	state, ok := containerStates[in.State]
	if !ok {
		state = fleet.Unknown // one that a newer node knows
	}
	c = fleet.Container{
		Namespace: in.Namespace, ID: in.Id, Image: in.Image, State: state,
		WrittenBytes: in.WrittenBytes, WrittenInodes: in.WrittenInodes, NodeID: in.NodeId, Labels: in.Labels,
	}
	if c.ImageDigest, err = optionalDigest(in.ImageDigest); err != nil {
		return c, fmt.Errorf("%s.image_digest: %w", field, err)
	}
	if c.ChainID, err = optionalDigest(in.ChainId); err != nil {
		return c, fmt.Errorf("%s.chain_id: %w", field, err)
	}
	c.CreatedAt, err = parseTime(field+".created_at", in.CreatedAt)
	return c, err
}

// parseSnapshot checks the form of a registration; whether its parts fit
// together is for fleet.
func parseSnapshot(in *pb.Snapshot) (s fleet.Snapshot, err error) {
	s = fleet.Snapshot{ID: in.Id, NodeID: in.NodeId, Paused: time.Duration(in.PausedUs) * time.Microsecond}
	if in.PausedUs < 0 || s.Paused.Microseconds() != in.PausedUs {
		return s, argument("snapshot.paused_us", "%d is no time", in.PausedUs)
	}
	if s.Repository, err = reference.ParseRepository(in.Repository); err != nil {
		return s, err
	}
	if in.Tag != "" {
		if s.Tag, err = reference.ParseTag(in.Tag); err != nil {
			return s, err
		}
	}
	if s.Image, err = parseDescriptor("snapshot.image", in.Image); err != nil {
		return s, err
	}
	if s.Diff, err = parseDescriptor("snapshot.diff", in.Diff); err != nil {
		return s, err
	}
	for _, f := range []struct {
		to   *digest.Digest
		from string
	}{
		{&s.ParentChainID, in.ParentChainId}, {&s.ChainID, in.ChainId}, {&s.DiffID, in.DiffId},
	} {
		if *f.to, err = optionalDigest(f.from); err != nil {
			return s, err
		}
	}
	for _, d := range in.ParentDiffIds {
		parsed, err := reference.ParseDigest(d)
		if err != nil {
			return s, err
		}
		s.ParentDiffIDs = append(s.ParentDiffIDs, parsed)
	}
	if s.Container, err = parseContainer("snapshot.container", in.Container); err != nil {
		return s, err
	}
	s.CreatedAt, err = parseTime("snapshot.created_at", in.CreatedAt)
	return s, err
}
