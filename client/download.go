package client

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// Read reads limit bytes of a blob from offset; with limit 0 all that follow.
// Lost connections are not noticed. The bytes of a part cannot be checked by
// whoever reads it; the server has checked them when they came. Open checks a
// whole blob. The caller closes the reader, which ends with ctx too.
func (c *Client) Read(ctx context.Context, repo reference.Repository, d digest.Digest, offset, limit int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &download{
		c: c, ctx: ctx, cancel: cancel, patience: c.patience(),
		in: &pb.BlobsReadRequest{Repository: string(repo), Digest: string(d), Offset: offset, Limit: limit},
	}
	// The first message comes before Read returns, so that a blob that is not
	// there is an error of Read.
	if err := r.next(); err != nil && err != io.EOF {
		cancel()
		return nil, err
	}
	return r, nil
}

// Open reads a whole blob and checks it: reading the last bytes fails if they
// are not what the digest says.
func (c *Client) Open(ctx context.Context, repo reference.Repository, d ocispec.Descriptor) (io.ReadCloser, error) {
	return transfer.Checked(c.repository(repo, ""), d).Open(ctx, 0)
}

// A download is a blob on its way here.
type download struct {
	c        *Client
	ctx      context.Context
	cancel   context.CancelFunc
	patience *patience
	in       *pb.BlobsReadRequest // its offset and limit are of what is still to come
	got      int64                // bytes so far

	stop   context.CancelFunc // ends stream
	stream interface {
		Recv() (*pb.BlobsReadResponse, error)
	}
	data []byte
	err  error
}

func (r *download) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.next()
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// next gets another message, from a new stream when the one there was has
// broken. It returns io.EOF at the end.
func (r *download) next() error {
	for {
		m, err := r.recv()
		switch {
		case err == nil && len(m.Data) == 0:
			continue
		case err == nil:
			r.c.contacted.Store(true)
			r.patience.moved()
			r.data = m.Data
			r.got += int64(len(m.Data))
			r.in.Offset += int64(len(m.Data))
			if r.in.Limit > 0 {
				r.in.Limit -= int64(len(m.Data))
				if r.in.Limit <= 0 {
					r.err = io.EOF // 0 would mean: all that follows
				}
			}
			return nil
		case err == io.EOF:
			return io.EOF
		}
		if r.stop != nil {
			r.stop()
			r.stream = nil
		}
		err = asError(err, r.c.addr)
		if r.got > 0 && ReasonOf(err) == pb.Reason_REASON_RANGE_INVALID {
			return io.EOF // all had come, and only the end of the stream was lost
		}
		if err := r.patience.wait(r.ctx, err); err != nil {
			return err
		}
	}
}

func (r *download) recv() (*pb.BlobsReadResponse, error) {
	if r.stream == nil {
		ctx, stop := context.WithCancel(r.ctx)
		s, err := r.c.blobs.Read(ctx, r.in)
		if err != nil {
			stop()
			return nil, err
		}
		r.stream, r.stop = s, stop
	}
	return r.stream.Recv()
}

// Close may be called before the end.
func (r *download) Close() error {
	r.cancel()
	return nil
}
