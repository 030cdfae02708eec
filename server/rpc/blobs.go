package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
)

// maxMountFrom is how many repositories FindMissing looks into.
const maxMountFrom = 8

type blobs struct {
	pb.UnimplementedBlobsServer
	store   *blobstore.Store
	idle    time.Duration
	minRate int64 // bytes a second
	streams *sync.WaitGroup
}

// blobName checks what names a blob in nearly every call.
func blobName(repository, d string) (reference.Repository, digest.Digest, error) {
	repo, err := reference.ParseRepository(repository)
	if err != nil {
		return "", "", err
	}
	dgst, err := reference.ParseDigest(d)
	return repo, dgst, err
}

func (s *blobs) Stat(ctx context.Context, in *pb.BlobsStatRequest) (*pb.BlobsStatResponse, error) {
	repo, d, err := blobName(in.Repository, in.Digest)
	if err != nil {
		return nil, err
	}
	b, err := s.store.Stat(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	return &pb.BlobsStatResponse{Blob: blobDescriptor(b), PromisedUntil: timestamppb.New(b.Promised)}, nil
}

func (s *blobs) FindMissing(ctx context.Context, in *pb.BlobsFindMissingRequest) (*pb.BlobsFindMissingResponse, error) {
	repo, err := reference.ParseRepository(in.Repository)
	if err != nil {
		return nil, err
	}
	if n := len(in.Digests); n > blobstore.MaxFindMissing {
		return nil, &blobstore.Error{
			Class: blobstore.ErrTooLarge, Subject: "digests", Detail: "too many in one call",
			Remedy: "ask for at most 1000 at a time",
		}
	}
	if n := len(in.MountFrom); n > maxMountFrom {
		return nil, argument("mount_from", "%d repositories, at most %d", n, maxMountFrom)
	}
	digests := make([]digest.Digest, len(in.Digests))
	for i, d := range in.Digests {
		if digests[i], err = reference.ParseDigest(d); err != nil {
			return nil, err
		}
	}
	var from []reference.Repository
	for _, r := range in.MountFrom {
		source, err := reference.ParseRepository(r)
		if err != nil {
			return nil, err
		}
		// What the caller may not read has nothing, for all that it is told.
		if access.From(ctx).May(access.Pull, source) {
			from = append(from, source)
		}
	}
	missing, until, err := s.store.FindMissing(ctx, repo, digests, from)
	if err != nil {
		return nil, err
	}
	out := &pb.BlobsFindMissingResponse{PromisedUntil: timestamppb.New(until)}
	for _, d := range missing {
		out.Missing = append(out.Missing, d.String())
	}
	return out, nil
}

func (s *blobs) Read(in *pb.BlobsReadRequest, stream grpcReadStream) error {
	repo, d, err := blobName(in.Repository, in.Digest)
	if err != nil {
		return err
	}
	n := in.Limit
	switch {
	case n < 0:
		return argument("limit", "%d is negative", n)
	case n == 0:
		n = -1
	}
	r, err := s.store.Open(stream.Context(), repo, d, in.Offset, n)
	if err != nil {
		return err
	}
	return s.send(r, stream)
}

func (s *blobs) Status(ctx context.Context, in *pb.BlobsStatusRequest) (*pb.BlobsStatusResponse, error) {
	repo, err := reference.ParseRepository(in.Repository)
	if err != nil {
		return nil, err
	}
	u, err := s.store.ResumeUpload(ctx, repo, in.UploadId)
	if err != nil {
		return nil, err
	}
	offset, err := u.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.BlobsStatusResponse{
		Offset: offset, StartedAt: timestamppb.New(u.Started()), ExpiresAt: timestamppb.New(u.Expires()),
	}, nil
}

func (s *blobs) Abort(ctx context.Context, in *pb.BlobsAbortRequest) (*pb.BlobsAbortResponse, error) {
	repo, err := reference.ParseRepository(in.Repository)
	if err != nil {
		return nil, err
	}
	u, err := s.store.ResumeUpload(ctx, repo, in.UploadId)
	if err != nil {
		return nil, err
	}
	return &pb.BlobsAbortResponse{}, u.Abort(ctx)
}

func blobDescriptor(b blobstore.Blob) *pb.Descriptor {
	return &pb.Descriptor{Digest: b.Digest.String(), Size: b.Size}
}
