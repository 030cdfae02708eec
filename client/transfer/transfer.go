// Package transfer copies images between the places that hold them, byte for
// byte: manifests, configs and layers arrive with the digests they had.
//
// A place is written as users of other tools write it:
//
//	oci:DIR[:TAG]               a folder in the OCI image layout
//	oci-archive:FILE[:TAG]      the same in one tar file
//	docker-archive:FILE[:NAME]  what docker save writes
//	docker://REF                another registry
//
// Package client adds the one that matters, a repository of a Lamina server.
// [Open] and [Create] make a [Source] and a [Destination] of the others, and
// [Copy] moves an image from one to the other: several blobs at once, none that
// the destination has, each checked while it streams.
//
// One kind cannot give back what it got: a docker-archive keeps no manifest and
// its layers uncompressed. The config with its digest, which Docker calls the
// image's ID, and the layers' diffIDs survive; the manifest is made anew, of
// Docker's schema 2, with layers compressed by gzip.
package transfer

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Source is one image in one place. Its methods may be called from several
// goroutines at once.
type Source interface {
	// Root describes what the image's name means: an index or a manifest.
	Root(ctx context.Context) (ocispec.Descriptor, error)
	// Manifest returns the bytes of Root, or of a manifest that an index below
	// it names. The caller checks the digest.
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	// Open reads a blob from offset (in bytes) to its end. A reader from a
	// network survives lost connections by itself. The caller checks the digest,
	// and closes the reader.
	Open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
	// Close frees what the source holds; nothing may be open then.
	Close() error
	// String is the place, as the user wrote it.
	String() string
}

// A Destination takes one image. It becomes visible in Finish, whole, or not at
// all. PutBlob and PutManifest may be called from several goroutines at once.
type Destination interface {
	// Missing returns which of the blobs the place lacks, in the order given.
	// It is called once, with all blobs of the image, before anything is put.
	Missing(ctx context.Context, blobs []ocispec.Descriptor) ([]ocispec.Descriptor, error)
	// PutBlob stores a blob. It reads c as often as it has to.
	PutBlob(ctx context.Context, d ocispec.Descriptor, c Content) error
	// PutManifest stores a manifest below the root, after all that it names.
	PutManifest(ctx context.Context, d ocispec.Descriptor, b []byte) error
	// Finish stores the root, after all that it names, and gives it its name.
	Finish(ctx context.Context, root ocispec.Descriptor, b []byte) error
	// Close frees what the destination holds. Without a Finish before it,
	// nothing half-made is left.
	Close() error
}

// Content is a blob's bytes on their way: checked while they are read, so that
// the last read fails if they are not what their digest says.
type Content interface {
	// Open reads from offset to the end. One reader at a time; the caller closes
	// it. Errors: ErrDamaged from Read, wrapped, and those of the source.
	Open(ctx context.Context, offset int64) (io.ReadCloser, error)
}

// Progress is told of a copy while it goes on; its methods and those of its
// meters are called from several goroutines at once, and must not block.
type Progress interface {
	// Plan tells which blobs the image has, and which of them have to move.
	Plan(all, missing []ocispec.Descriptor)
	// Begin tells that work on a blob starts. While its digest is not known,
	// which is so for layers that are compressed first, d has only its size.
	Begin(s Step, d ocispec.Descriptor) Meter
}

// A Step is what is done with a blob.
type Step int

const (
	// Move copies a blob.
	Move Step = iota
	// Compress prepares a layer of a docker-archive.
	Compress
)

// A Meter is told how far the work on one blob has come.
type Meter interface {
	// At says how many bytes are done. It goes back when a connection was lost
	// and the other side has less.
	At(n int64)
	// End is called once; err is nil when the blob has arrived.
	End(err error)
}

type silent struct{}

func (silent) Plan(_, _ []ocispec.Descriptor)       {}
func (silent) Begin(Step, ocispec.Descriptor) Meter { return silent{} }
func (silent) At(int64)                             {}
func (silent) End(error)                            {}
