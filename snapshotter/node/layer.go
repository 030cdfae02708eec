package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/snapshotter/capture"
)

// A layer is a compressed tar in a file without a name.
type layer struct {
	ocispec.Descriptor
	diffID digest.Digest
	file   *os.File
}

func (l *layer) close() error { return l.file.Close() }

// layerType is the media type of a layer in an image of that manifest type.
func layerType(manifest, compression string) (string, error) {
	docker := manifest == images.MediaTypeDockerSchema2Manifest
	switch {
	case compression == "" || compression == "gzip":
		if docker {
			return images.MediaTypeDockerSchema2LayerGzip, nil
		}
		return ocispec.MediaTypeImageLayerGzip, nil
	case compression == "zstd" && docker:
		return "", status.Error(codes.FailedPrecondition, "the container's image is of Docker's own format, which has no zstd layers; use gzip")
	case compression == "zstd":
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return "", status.Errorf(codes.InvalidArgument, "compression %q is neither gzip nor zstd", compression)
}

// compress writes the tar compressed to a file in dir. The same tar gives the
// same bytes. progress is told how much of the tar has been read.
func compress(ctx context.Context, tar io.Reader, dir, mediaType string, progress func(int64)) (_ *layer, err error) {
	f, err := capture.Unnamed(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	blob := digest.SHA256.Digester()
	buf := bufio.NewWriterSize(f, 1<<20)
	out := &counted{w: io.MultiWriter(buf, blob.Hash())}
	var z io.WriteCloser
	if mediaType == ocispec.MediaTypeImageLayerZstd {
		z, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	} else {
		z, err = gzip.NewWriterLevel(out, gzip.DefaultCompression)
	}
	if err != nil {
		return nil, err
	}
	diff := digest.SHA256.Digester()
	in := &counted{w: io.MultiWriter(z, diff.Hash()), progress: progress}
	_, err = io.CopyBuffer(in, struct{ io.Reader }{tar}, make([]byte, 1<<20))
	if err = errors.Join(err, z.Close(), buf.Flush(), ctx.Err()); err != nil {
		return nil, fmt.Errorf("compress the layer: %w", err)
	}
	return &layer{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: blob.Digest(), Size: out.n},
		diffID:     diff.Digest(), file: f,
	}, nil
}

type counted struct {
	w        io.Writer
	n        int64
	progress func(int64)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if c.progress != nil {
		c.progress(c.n)
	}
	return n, err
}
