package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/retain"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/limit"
)

// Domain is the domain of every google.rpc.ErrorInfo that this server sends.
const Domain = "lamina.store"

// The classes of error that only this package has.
var (
	errArgument         = errors.New("invalid argument")
	errUploadIdle       = errors.New("upload stands still")
	errReadIdle         = errors.New("read stands still")
	errManifestTooLarge = errors.New("manifest too large")
)

// Errors travel in HTTP/2 trailers, of which a client in C++ or Python takes
// 8 KiB in all unless it is told otherwise.
const (
	maxMessage    = 768
	maxSubject    = 200
	maxViolations = 16
)

// A row says how a class of error reaches a client.
type row struct {
	class  error
	code   codes.Code
	reason pb.Reason
	// retry, when set, is how long a client should wait before it tries again.
	retry time.Duration
}

// table is the one place where classes become codes. The first row that fits
// counts, so a class that wraps another stands before it.
var table = []row{
	{blobstore.ErrBlobUnknown, codes.NotFound, pb.Reason_REASON_BLOB_UNKNOWN, 0},
	{blobstore.ErrDigestMismatch, codes.InvalidArgument, pb.Reason_REASON_DIGEST_MISMATCH, 0},
	{blobstore.ErrDigestUnsupported, codes.InvalidArgument, pb.Reason_REASON_DIGEST_UNSUPPORTED, 0},
	{blobstore.ErrSizeMismatch, codes.InvalidArgument, pb.Reason_REASON_SIZE_MISMATCH, 0},
	{blobstore.ErrRange, codes.OutOfRange, pb.Reason_REASON_RANGE_INVALID, 0},
	{blobstore.ErrUploadUnknown, codes.NotFound, pb.Reason_REASON_UPLOAD_UNKNOWN, 0},
	{blobstore.ErrUploadOffset, codes.OutOfRange, pb.Reason_REASON_UPLOAD_OFFSET, 0},
	{blobstore.ErrUploadBusy, codes.Aborted, pb.Reason_REASON_UPLOAD_BUSY, time.Second},
	{errManifestTooLarge, codes.InvalidArgument, pb.Reason_REASON_MANIFEST_TOO_LARGE, 0},
	{blobstore.ErrTooLarge, codes.InvalidArgument, pb.Reason_REASON_LIMIT_EXCEEDED, 0},
	{blobstore.ErrCorrupt, codes.DataLoss, pb.Reason_REASON_DATA_CORRUPT, 0},
	{blobstore.ErrConflict, codes.Aborted, pb.Reason_REASON_CONFLICT, time.Second},
	{blobstore.ErrRepositoryUnknown, codes.NotFound, pb.Reason_REASON_NAME_UNKNOWN, 0},
	{blobstore.ErrManifestUnknown, codes.NotFound, pb.Reason_REASON_MANIFEST_UNKNOWN, 0},
	{blobstore.ErrManifestInvalid, codes.InvalidArgument, pb.Reason_REASON_MANIFEST_INVALID, 0},
	{blobstore.ErrManifestBlobUnknown, codes.FailedPrecondition, pb.Reason_REASON_MANIFEST_BLOB_UNKNOWN, 0},
	{blobstore.ErrTagConflict, codes.Aborted, pb.Reason_REASON_TAG_CONFLICT, 0},
	{blobstore.ErrLayerInvalid, codes.FailedPrecondition, pb.Reason_REASON_LAYER_INVALID, 0},
	{blobstore.ErrSnapshotUnknown, codes.NotFound, pb.Reason_REASON_SNAPSHOT_UNKNOWN, 0},
	{blobstore.ErrNodeInvalid, codes.InvalidArgument, pb.Reason_REASON_NODE_INVALID, 0},
	{blobstore.ErrSnapshotInvalid, codes.InvalidArgument, pb.Reason_REASON_SNAPSHOT_INVALID, 0},
	{blobstore.ErrNodeTaken, codes.PermissionDenied, pb.Reason_REASON_DENIED, 0},

	{access.ErrCredentials, codes.Unauthenticated, pb.Reason_REASON_CREDENTIALS_REFUSED, 0},
	{access.ErrAnonymous, codes.Unauthenticated, pb.Reason_REASON_CREDENTIALS_MISSING, 0},
	{access.ErrScope, codes.Unauthenticated, pb.Reason_REASON_TOKEN_SCOPE, 0},
	{access.ErrDenied, codes.PermissionDenied, pb.Reason_REASON_DENIED, 0},
	{access.ErrUnavailable, codes.Unavailable, pb.Reason_REASON_CREDENTIALS_UNCHECKED, 2 * time.Second},

	{errArgument, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID, 0},
	{errUploadIdle, codes.DeadlineExceeded, pb.Reason_REASON_UPLOAD_IDLE, 0},
	{errReadIdle, codes.DeadlineExceeded, pb.Reason_REASON_READ_IDLE, 0},
	{errMaintenanceBusy, codes.Aborted, pb.Reason_REASON_MAINTENANCE_BUSY, 0},
	{retain.ErrConfig, codes.FailedPrecondition, pb.Reason_REASON_RETENTION_INVALID, 0},
	{errStopping, codes.Unavailable, pb.Reason_REASON_SERVER_STOPS, 2 * time.Second},

	{reference.ErrRepository, codes.InvalidArgument, pb.Reason_REASON_NAME_INVALID, 0},
	{reference.ErrTag, codes.InvalidArgument, pb.Reason_REASON_TAG_INVALID, 0},
	{reference.ErrDigestUnsupported, codes.InvalidArgument, pb.Reason_REASON_DIGEST_UNSUPPORTED, 0},
	{reference.ErrDigest, codes.InvalidArgument, pb.Reason_REASON_DIGEST_INVALID, 0},
	{reference.ErrReference, codes.InvalidArgument, pb.Reason_REASON_ARGUMENT_INVALID, 0},

	{limit.ErrTooMany, codes.ResourceExhausted, pb.Reason_REASON_TOO_MANY_REQUESTS, time.Second},
	{bucket.ErrFull, codes.ResourceExhausted, pb.Reason_REASON_BUCKET_FULL, 0},
	{bucket.ErrBusy, codes.Unavailable, pb.Reason_REASON_BUCKET_BUSY, 5 * time.Second},
	{bucket.ErrUnavailable, codes.Unavailable, pb.Reason_REASON_BUCKET_UNAVAILABLE, 2 * time.Second},
	// The server was so slow that the bucket refused the write.
	{bucket.ErrTooLate, codes.Unavailable, pb.Reason_REASON_BUCKET_UNAVAILABLE, 2 * time.Second},
	{bucket.ErrPrecondition, codes.Aborted, pb.Reason_REASON_CONFLICT, time.Second},
	// What follows the store turns into classes of its own. Where one comes
	// through, the server is at fault and not the caller.
	{bucket.ErrNotExist, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
	{bucket.ErrRange, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
	{bucket.ErrSize, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
	{bucket.ErrNoUpload, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
	{bucket.ErrPart, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
	{bucket.ErrKey, codes.Internal, pb.Reason_REASON_INTERNAL, 0},
}

// classify finds the row of err. What a *blobstore.Error says of itself goes
// before what its cause is: an upload that is unknown because an object does not
// exist is an unknown upload.
func classify(err error) row {
	var e *blobstore.Error
	if errors.As(err, &e) {
		for _, r := range table {
			if errors.Is(e.Class, r.class) {
				return r
			}
		}
	}
	for _, r := range table {
		if errors.Is(err, r.class) {
			return r
		}
	}
	return row{code: codes.Internal, reason: pb.Reason_REASON_INTERNAL}
}

// toStatus makes of err what the client gets. Once the call's own context is
// over that is the reason, whatever failed in consequence. A fault of the
// server says no more than under which request id to look into its log.
func toStatus(ctx context.Context, err error, requestID string) *status.Status {
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return s.GRPCStatus() // made by gRPC itself: unknown method, message too large
	}
	r := classify(err)
	if ctxErr := ctx.Err(); ctxErr != nil && r.class != errUploadIdle && r.class != errReadIdle {
		return status.FromContextError(ctxErr)
	}
	info := &errdetails.ErrorInfo{
		Reason:   strings.TrimPrefix(r.reason.String(), "REASON_"),
		Domain:   Domain,
		Metadata: map[string]string{},
	}
	details := []protoadapt.MessageV1{info}
	message := clip(err.Error(), maxMessage)
	if r.code == codes.Internal {
		message = fmt.Sprintf("internal error: the server's log says more under request id %s", requestID)
		info.Metadata["request_id"] = requestID
	} else {
		var e *blobstore.Error
		if errors.As(err, &e) {
			details = append(details, tell(info, e)...)
		}
	}
	if after := r.retryAfter(err); after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	s, err := status.New(r.code, message).WithDetails(details...)
	if err != nil {
		return status.New(r.code, message)
	}
	return s
}

// tell puts what e tells programs into info, and returns the further details
// that it calls for.
func tell(info *errdetails.ErrorInfo, e *blobstore.Error) []protoadapt.MessageV1 {
	if e.Subject != "" {
		info.Metadata["subject"] = clip(e.Subject, maxSubject)
	}
	for k, v := range e.Facts {
		if k != factMissing && k != factField {
			info.Metadata[k] = clip(v, maxSubject)
		}
	}
	var details []protoadapt.MessageV1
	if field := e.Facts[factField]; field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: clip(e.Detail, maxSubject)},
		}})
	}
	if missing := strings.Fields(e.Facts[factMissing]); len(missing) > 0 {
		info.Metadata[factMissing] = strconv.Itoa(len(missing))
		f := &errdetails.PreconditionFailure{}
		for _, d := range missing[:min(len(missing), maxViolations)] {
			f.Violations = append(f.Violations, &errdetails.PreconditionFailure_Violation{
				Type: info.Reason, Subject: clip(d, maxSubject),
			})
		}
		details = append(details, f)
	}
	return details
}

// Facts of a blobstore.Error that become details of their own.
const (
	factMissing = "missing" // digests, separated by spaces
	factField   = "field"   // of the request
)

// argument says that a field of the request is wrong.
func argument(field, format string, args ...any) error {
	return &blobstore.Error{
		Class: errArgument, Subject: field, Detail: fmt.Sprintf(format, args...),
		Facts: map[string]string{factField: field},
	}
}

// clip shortens s to about n bytes, and leaves valid UTF-8, which is all that
// protobuf can send.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
