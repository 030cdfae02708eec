package main

import (
	"context"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/client"
)

// A pushFunc pushes the file at path as a blob to a registry.
type pushFunc func(ctx context.Context, addr, path, dgst string) error

// An api is a way to push to a system.
type api struct {
	name string
	push pushFunc
}

func (s system) apis() []api {
	if s.name == "Lamina" {
		return []api{{"HTTP", pushBlob}, {"gRPC", pushBlobGRPC}}
	}
	return []api{{"HTTP", pushBlob}}
}

// pushBlobGRPC is pushBlob over Lamina's own API, whose address the registry
// tells.
func pushBlobGRPC(ctx context.Context, addr, path, dgst string) error {
	grpcAddr, err := client.Find(ctx, addr, nil)
	if err != nil {
		return err
	}
	c, err := client.Dial(grpcAddr, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return c.Upload(ctx, "bench/blob", ocispec.Descriptor{Digest: digest.Digest(dgst), Size: info.Size()}, fileContent(path))
}

// fileContent is the path of a file that is a blob.
type fileContent string

func (p fileContent) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(string(p))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
