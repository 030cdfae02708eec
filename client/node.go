package client

import (
	"context"
	"errors"
	"io"
	"iter"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A Node is the snapshotter of this host, which knows its containers. Unlike a
// Client it does not repeat calls: it is here or it is not.
type Node struct {
	c          *Client
	containers pb.ContainersClient
}

// DialNode makes a Node of the snapshotter's unix socket. The caller closes it.
func DialNode(socket string, o Options) (*Node, error) {
	c, err := Dial("unix:"+socket, o)
	if err != nil {
		return nil, err
	}
	c.addr = socket
	return &Node{c: c, containers: pb.NewContainersClient(c.conn)}, nil
}

// Close ends the connection.
func (n *Node) Close() error { return n.c.Close() }

// List returns the node and what runs on it.
func (n *Node) List(ctx context.Context) (*pb.Node, error) {
	out, err := n.containers.List(ctx, &pb.ContainersListRequest{})
	return out.GetNode(), asError(err, n.c.addr)
}

// Diff lists what a container changed over its image, in the order of paths.
func (n *Node) Diff(ctx context.Context, in *pb.ContainersDiffRequest) iter.Seq2[*pb.Change, error] {
	return func(yield func(*pb.Change, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := n.containers.Diff(ctx, in)
		for err == nil {
			var out *pb.ContainersDiffResponse
			if out, err = stream.Recv(); err != nil {
				break
			}
			for _, c := range out.Changes {
				if !yield(c, nil) {
					return
				}
			}
		}
		if err != io.EOF {
			yield(nil, asError(err, n.c.addr))
		}
	}
}

// Commit makes an image of what a container wrote, and pushes it. Progress is
// told of each step, and may be nil.
func (n *Node) Commit(ctx context.Context, in *pb.ContainersCommitRequest, progress func(*pb.CommitProgress)) (*pb.CommitResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := n.containers.Commit(ctx, in)
	if err != nil {
		return nil, asError(err, n.c.addr)
	}
	var result *pb.CommitResult
	for {
		out, err := stream.Recv()
		switch {
		case err == io.EOF && result == nil:
			return nil, errors.New("the snapshotter ended the commit without a result")
		case err == io.EOF:
			return result, nil
		case err != nil:
			return nil, asError(err, n.c.addr)
		}
		switch e := out.Event.(type) {
		case *pb.ContainersCommitResponse_Progress:
			if progress != nil {
				progress(e.Progress)
			}
		case *pb.ContainersCommitResponse_Result:
			result = e.Result
		}
	}
}
