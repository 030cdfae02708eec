package node

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// Domain is that of every google.rpc.ErrorInfo of Lamina.
const Domain = "lamina.store"

// errBusy is the class of errors of a container that is being removed, or
// committed by somebody else.
var errBusy = errors.New("container is busy")

// table is the one place where classes of error become codes.
var table = []struct {
	class  error
	code   codes.Code
	reason pb.Reason
}{
	{errNoContainer, codes.NotFound, pb.Reason_REASON_CONTAINER_UNKNOWN},
	{errAmbiguous, codes.InvalidArgument, pb.Reason_REASON_CONTAINER_UNKNOWN},
	{errBusy, codes.Aborted, pb.Reason_REASON_CONTAINER_BUSY},
	{errNoContainerd, codes.Unavailable, pb.Reason_REASON_UNSPECIFIED},
	{errNoBase, codes.FailedPrecondition, pb.Reason_REASON_UNSPECIFIED},
	{capture.ErrForeign, codes.FailedPrecondition, pb.Reason_REASON_UNSPECIFIED},
	{capture.ErrLimit, codes.FailedPrecondition, pb.Reason_REASON_LIMIT_EXCEEDED},
	{capture.ErrPattern, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID},
	{errInstruction, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID},
	{unix.ENOSPC, codes.ResourceExhausted, pb.Reason_REASON_UNSPECIFIED},
	{context.Canceled, codes.Canceled, pb.Reason_REASON_UNSPECIFIED},
	{context.DeadlineExceeded, codes.DeadlineExceeded, pb.Reason_REASON_UNSPECIFIED},
}

// asStatus makes a gRPC status of an error. One that is a status already, from a
// server that was asked, keeps its code, reason and details.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	for _, row := range table {
		if !errors.Is(err, row.class) {
			continue
		}
		st := status.New(row.code, err.Error())
		if row.reason != pb.Reason_REASON_UNSPECIFIED {
			info := &errdetails.ErrorInfo{Reason: row.reason.String()[len("REASON_"):], Domain: Domain}
			if with, derr := st.WithDetails(info); derr == nil {
				st = with
			}
		}
		return st.Err()
	}
	if st, ok := status.FromError(err); ok {
		p := st.Proto()
		p.Message = err.Error()
		return status.ErrorProto(p)
	}
	return status.Error(codes.Internal, err.Error())
}
