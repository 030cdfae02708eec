package node

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/snapshotter/capture"
)

const (
	// batch and batchBytes bound an answer of Diff.
	batch      = 1000
	batchBytes = 512 << 10
)

// Diff implements lamina.v1.Containers.
func (s *service) Diff(in *pb.ContainersDiffRequest, stream grpc.ServerStreamingServer[pb.ContainersDiffResponse]) error {
	ctx := stream.Context()
	c, err := s.agent.find(ctx, in.Namespace, in.Container)
	if err != nil {
		return asStatus(err)
	}
	stack, err := s.agent.cfg.Snapshots.Pin(ctx, c.snapshot)
	if err != nil {
		return asStatus(s.agent.vanished(c, err))
	}
	defer stack.Release()
	out, size := &pb.ContainersDiffResponse{}, 0
	send := func() error {
		if len(out.Changes) == 0 {
			return nil
		}
		err := stream.Send(out)
		out, size = &pb.ContainersDiffResponse{}, 0
		return err
	}
	_, err = capture.List(ctx, capture.Options{Upper: stack.Upper, Lowers: stack.Lowers, OnChange: func(ch capture.Change) error {
		out.Changes = append(out.Changes, &pb.Change{Path: printable(ch.Path), Kind: kind(ch.Kind), Size: ch.Size})
		if size += len(ch.Path) + 16; len(out.Changes) < batch && size < batchBytes {
			return nil
		}
		return send()
	}})
	if err == nil {
		err = send()
	}
	return asStatus(err)
}

func kind(k capture.Kind) pb.ChangeKind {
	switch k {
	case capture.Added:
		return pb.ChangeKind_CHANGE_KIND_ADDED
	case capture.Deleted:
		return pb.ChangeKind_CHANGE_KIND_DELETED
	default:
		return pb.ChangeKind_CHANGE_KIND_CHANGED
	}
}

// printable is a path as UTF-8, which gRPC insists on: bytes that are none are
// written as \xNN.
func printable(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, path[0])
		} else {
			b.WriteString(path[:n])
		}
		path = path[n:]
	}
	return b.String()
}
