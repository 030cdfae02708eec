package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// An Error is what a server answered, or that none did.
type Error struct {
	// Reason is what went wrong, for programs; REASON_UNSPECIFIED when it is not
	// the server that said so.
	Reason pb.Reason
	// Facts are what else programs are told: "subject", "offset", "actual", ….
	Facts map[string]string
	// Missing are the digests that a manifest names and the repository lacks.
	// The server lists the first few.
	Missing []string

	message string
	status  *status.Status
	retry   time.Duration // how long to wait before the next try; 0: not said
	remote  bool          // a server of Lamina said it
}

// Error is for people: what failed, on what, why, and what to do about it.
func (e *Error) Error() string { return e.message }

// GRPCStatus is what status.FromError and status.Code find.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap lets errors.Is find context.Canceled and context.DeadlineExceeded, and
// transfer.ErrDamaged where the server has read bytes that are not what they were.
func (e *Error) Unwrap() error {
	if e.Reason == pb.Reason_REASON_DATA_CORRUPT {
		return transfer.ErrDamaged
	}
	switch e.status.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return nil
}

// ReasonOf is the reason a server gave for err; REASON_UNSPECIFIED if it gave
// none.
func ReasonOf(err error) pb.Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return pb.Reason_REASON_UNSPECIFIED
}

// Unreachable says whether err means that no server answered.
func Unreachable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !e.remote && e.status.Code() == codes.Unavailable
}

// NotLoggedIn says whether err means that the server wants to know who calls, or
// does not believe it.
func NotLoggedIn(err error) bool {
	switch ReasonOf(err) {
	case pb.Reason_REASON_CREDENTIALS_MISSING, pb.Reason_REASON_CREDENTIALS_REFUSED, pb.Reason_REASON_TOKEN_SCOPE:
		return true
	}
	return false
}

// asError reads what a call to addr came back with; nil stays nil.
func asError(err error, addr string) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	s, ok := status.FromError(err)
	if !ok {
		if ctx := status.FromContextError(err); ctx.Code() != codes.Unknown {
			s = ctx
		} else {
			return err
		}
	}
	e := &Error{status: s, message: s.Message()}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = pb.Reason(pb.Reason_value["REASON_"+d.Reason])
			e.Facts = d.Metadata
			e.remote = true
		case *errdetails.RetryInfo:
			e.retry = d.RetryDelay.AsDuration()
		case *errdetails.PreconditionFailure:
			for _, v := range d.Violations {
				e.Missing = append(e.Missing, v.Subject)
			}
		}
	}
	switch {
	case !e.remote:
		e.message = transportMessage(s, addr)
	case e.Reason == pb.Reason_REASON_MANIFEST_UNKNOWN || e.Reason == pb.Reason_REASON_BLOB_UNKNOWN:
		// Whoever asked for it knows what it is that is unknown.
		if _, rest, ok := strings.Cut(e.message, e.Facts["subject"]+": "); ok && e.Facts["subject"] != "" {
			e.message = rest
		}
	}
	return e
}

// transportMessage makes a sentence of what gRPC says when a call did not come
// through.
func transportMessage(s *status.Status, addr string) string {
	m := s.Message()
	switch s.Code() {
	case codes.Canceled:
		return "interrupted"
	case codes.DeadlineExceeded:
		return "no answer in time from the server at " + addr
	case codes.Unimplemented:
		return "the server at " + addr + " does not know this call: it is older, or no server of Lamina"
	case codes.Unavailable:
	default:
		return "server at " + addr + ": " + m
	}
	if strings.Contains(m, "looked like an HTTP/1.1 header") {
		return "the server at " + addr + " speaks HTTP, not gRPC: this is perhaps its registry's port"
	}
	switch cause := innermost(m); {
	case strings.HasSuffix(cause, "no such file or directory"):
		return "no answer at " + addr + ": there is no such socket"
	case strings.HasSuffix(cause, "permission denied"):
		return "no access to " + addr + ": permission denied; it may need root"
	}
	return "no answer from the server at " + addr + ": " + innermost(m)
}

// innermost takes the last cause out of gRPC's chain of them, as in
// `connection error: desc = "transport: Error while dialing: dial tcp …: connect: connection refused"`.
func innermost(m string) string {
	for _, before := range []string{"Error while dialing: ", "authentication handshake failed: ", "desc = ", "error reading from server: "} {
		if i := strings.LastIndex(m, before); i >= 0 {
			m = m[i+len(before):]
			break
		}
	}
	m = strings.Trim(m, `"`)
	if i := strings.LastIndex(m, "connect: "); i >= 0 {
		m = m[i+len("connect: "):]
	}
	if strings.HasPrefix(m, "dial tcp") { // dial tcp: lookup HOST: no such host
		if _, rest, ok := strings.Cut(m, ": "); ok {
			m = rest
		}
	}
	return m
}
