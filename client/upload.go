package client

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

const (
	// oneMessage is how large a blob may be that goes in a single message.
	oneMessage = 1 << 20
	// chunk is the size of messages of larger ones. It is what is sent twice at
	// most when a connection breaks.
	chunk = 256 << 10
	// maxAsked is how many digests the server takes in one call.
	maxAsked = 1000
)

// errSource marks errors of what was to be sent, as opposed to the sending.
type errSource struct{ error }

func (e errSource) Unwrap() error { return e.error }

// FindMissing returns which of the blobs repo lacks, in the order given. What
// one of the other repositories has is taken over from there and is not missing.
// What is not missing stays readable for long enough to push a manifest that
// names it.
func (c *Client) FindMissing(ctx context.Context, repo reference.Repository, ds []digest.Digest, from ...reference.Repository) ([]digest.Digest, error) {
	var missing []digest.Digest
	for len(ds) > 0 {
		in := &pb.BlobsFindMissingRequest{Repository: string(repo)}
		n := min(len(ds), maxAsked)
		for _, d := range ds[:n] {
			in.Digests = append(in.Digests, string(d))
		}
		for _, r := range from {
			in.MountFrom = append(in.MountFrom, string(r))
		}
		out, err := call(ctx, c, c.blobs.FindMissing, in)
		if err != nil {
			return nil, err
		}
		for _, d := range out.Missing {
			missing = append(missing, digest.Digest(d))
		}
		ds = ds[n:]
	}
	return missing, nil
}

// Upload stores a blob in repo, of which d needs digest and size. It reads from
// content as often as connections break, and nothing when the repository has the
// blob. When it fails, or ctx ends, it frees what the server has of it.
// Errors: *Error, and those of content.
func (c *Client) Upload(ctx context.Context, repo reference.Repository, d ocispec.Descriptor, content transfer.Content) error {
	u := &upload{c: c, repo: repo, desc: d, content: content}
	p := c.patience()
	for {
		err := u.try(ctx)
		if err == nil {
			return nil
		}
		if src, ok := errors.AsType[errSource](err); ok {
			u.abort(ctx)
			return src.error
		}
		if u.progress() {
			p.moved()
		}
		if ReasonOf(asError(err, c.addr)) == pb.Reason_REASON_UPLOAD_UNKNOWN && u.id != "" {
			// It ended without our hearing of it: well, and then the server says
			// that it has the blob; or not, and then it begins anew.
			u.id = ""
			continue
		}
		if err := p.wait(ctx, err); err != nil {
			u.abort(ctx)
			return err
		}
	}
}

// An upload is a blob on its way.
type upload struct {
	c       *Client
	repo    reference.Repository
	desc    ocispec.Descriptor
	content transfer.Content

	id       string // empty until the server has given one
	have     int64  // what the server said last that it has
	reported int64  // the same when progress was last asked for
}

func (u *upload) progress() bool {
	moved := u.have > u.reported
	u.reported = max(u.have, u.reported)
	return moved
}

// try uses one connection. When it breaks, what was learned is in u.
func (u *upload) try(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := u.c.blobs.Write(ctx)
	if err != nil {
		return err
	}
	first := &pb.BlobsWriteRequest{
		Repository: string(u.repo), UploadId: u.id, Digest: string(u.desc.Digest), Size: u.desc.Size,
	}
	if u.desc.Size <= oneMessage {
		first.UploadId, first.Finish = "", true
		if first.Data, err = u.readAll(ctx); err != nil {
			return err
		}
	}
	sendErr := stream.Send(first) // io.EOF when the stream has ended: Recv says why
	if sendErr != nil && sendErr != io.EOF {
		return sendErr
	}
	out, err := stream.Recv()
	if err != nil {
		return err
	}
	u.c.contacted.Store(true)
	if out.Blob != nil {
		return nil
	}
	u.id, u.have = out.UploadId, out.Offset
	answers := u.listen(stream.Recv)
	if err := u.send(ctx, stream.Send, out.Offset, answers); err != nil {
		cancel()
		<-answers.done
		return err
	}
	<-answers.done
	u.have = max(u.have, answers.offset.Load())
	return answers.err
}

func (u *upload) readAll(ctx context.Context) ([]byte, error) {
	r, err := u.content.Open(ctx, 0)
	if err != nil {
		return nil, errSource{err}
	}
	defer r.Close()
	b := make([]byte, u.desc.Size)
	if _, err := io.ReadFull(r, b); err != nil && err != io.EOF {
		return nil, errSource{err}
	}
	// Content is checked to the end: nothing may follow.
	if _, err := r.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return nil, errSource{err}
	}
	return b, nil
}

// answers are what the server says while it is being sent to. They are received
// all the time, so that it never waits for that.
type answers struct {
	offset atomic.Int64
	done   chan struct{} // closed when no more come; then err counts
	err    error         // nil: the blob is stored
}

func (u *upload) listen(recv func() (*pb.BlobsWriteResponse, error)) *answers {
	a := &answers{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for {
			out, err := recv()
			switch {
			case err == io.EOF:
				a.err = status.Error(codes.Unavailable, "the server ended the upload before its end")
				return
			case err != nil:
				a.err = err
				return
			case out.Blob != nil:
				return
			}
			a.offset.Store(out.Offset)
		}
	}()
	return a
}

// send sends from offset to the end. It returns nil as well when the server has
// ended the stream, whose answers then say why.
func (u *upload) send(ctx context.Context, send func(*pb.BlobsWriteRequest) error, offset int64, a *answers) error {
	r, err := u.content.Open(ctx, offset)
	if err != nil {
		return errSource{err}
	}
	defer r.Close()
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(r, buf)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errSource{err}
		}
		m := &pb.BlobsWriteRequest{Offset: offset, Data: buf[:n]}
		offset += int64(n)
		if last {
			m.Finish, m.Digest, m.Size = true, string(u.desc.Digest), u.desc.Size
		}
		if err := send(m); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		u.have = max(u.have, a.offset.Load())
		if last {
			return nil
		}
	}
}

// abort frees what the server has of an upload that will not go on. It is a
// courtesy, since the server forgets uploads after a day.
func (u *upload) abort(ctx context.Context) {
	if u.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	// Not at the first try, perhaps: the stream that was left may still hold it.
	_, _ = call(ctx, u.c, u.c.blobs.Abort, &pb.BlobsAbortRequest{Repository: string(u.repo), UploadId: u.id})
}
