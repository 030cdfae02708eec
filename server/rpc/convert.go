package rpc

import (
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/laminastore/lamina/blobstore/images"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

func descriptor(d images.Descriptor) *pb.Descriptor {
	return &pb.Descriptor{Digest: d.Digest.String(), Size: d.Size, MediaType: d.MediaType}
}

// parseDescriptor reads a descriptor that may be missing.
func parseDescriptor(field string, d *pb.Descriptor) (images.Descriptor, error) {
	if d == nil {
		return images.Descriptor{}, nil
	}
	if d.Size < 0 {
		return images.Descriptor{}, argument(field+".size", "%d is negative", d.Size)
	}
	dgst, err := optionalDigest(d.Digest)
	return images.Descriptor{Digest: dgst, Size: d.Size, MediaType: d.MediaType}, err
}

// optionalDigest is reference.ParseDigest for a field that may be empty.
func optionalDigest(s string) (digest.Digest, error) {
	if s == "" {
		return "", nil
	}
	return reference.ParseDigest(s)
}

// timestamp leaves out a time that is not known.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func parseTime(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, argument(field, "%v", err)
	}
	return t.AsTime(), nil
}
