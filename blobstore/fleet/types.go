package fleet

import (
	"time"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
	"github.com/opencontainers/go-digest"
)

// A Node is a host that runs containers, as it last said.
type Node struct {
	// ID is chosen once by the node and kept: 1 to 128 letters, digits, "-",
	// "_" and ".", not beginning with ".".
	ID         string
	Hostname   string
	Version    string    // of Lamina
	ReportedAt time.Time // by the server's clock
	Containers []Container
	// Reporter is who reports, in what is given to Report.
	Reporter Reporter
}

// A Reporter is who speaks for a node. The zero value is where nobody is asked
// who they are: it may speak for every node.
type Reporter struct {
	Subject string // as access rules name it
	// Proven says that somebody who is to be believed has given the node's id to
	// the subject: a certificate. It has the id then, whoever used it before.
	Proven bool
}

// A Container is a running use of an image on a node.
type Container struct {
	Namespace string // of containerd
	ID        string
	Image     string // as the runtime calls it
	// ImageDigest is the manifest or index that Image named when the container
	// was made, and ChainID names the image's layers. Both may be empty.
	ImageDigest digest.Digest
	ChainID     digest.Digest
	State       ContainerState
	CreatedAt   time.Time
	// What its writable layer takes on the node: bytes, and files and folders.
	WrittenBytes  int64
	WrittenInodes int64
	NodeID        string // set in answers
	Labels        map[string]string
}

// A ContainerState is what a container does.
type ContainerState string

const (
	Unknown ContainerState = ""
	Created ContainerState = "created"
	Running ContainerState = "running"
	Paused  ContainerState = "paused"
	Stopped ContainerState = "stopped"
)

// A Snapshot is a registered diff: what a container wrote, kept as a layer, and
// the image made of it.
type Snapshot struct {
	ID         string // a ULID, chosen by the caller
	Repository reference.Repository
	Image      images.Descriptor // a manifest
	Tag        reference.Tag     // may be empty
	// ParentDiffIDs are the layers below the diff, lowest first.
	ParentDiffIDs []digest.Digest
	// ParentChainID names those layers, and ChainID them with the diff.
	ParentChainID digest.Digest
	ChainID       digest.Digest
	Diff          images.Descriptor // a layer of the image, its topmost
	DiffID        digest.Digest
	Container     Container // where it came from
	NodeID        string
	CreatedAt     time.Time
	// Paused is how long the container stood still; 0 if it did not run.
	Paused time.Duration
	// Reporter is who registers, in what is given to Register.
	Reporter Reporter
}
