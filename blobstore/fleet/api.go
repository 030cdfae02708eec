// Package fleet knows what runs where, and which diffs were registered.
package fleet

import (
	"context"
	"errors"
	"iter"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// Limits of a report.
const (
	MaxContainers = 10_000
	MaxReportSize = 1 << 20 // bytes, as stored
)

// Fleet keeps the records of nodes and snapshots. Safe for concurrent use.
type Fleet struct{}

// New returns a Fleet over s. It holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images) *Fleet { return &Fleet{} }

// Report replaces what is known of a node; ReportedAt and NodeID are set here.
// When nothing changed since a report less than 10 minutes old, nothing is
// written. Labels that would make the record too large are left out.
// Errors: blobstore.ErrNodeInvalid, ErrTooLarge; bucket.ErrUnavailable.
func (f *Fleet) Report(ctx context.Context, n Node) error { return errors.ErrUnsupported }

// Nodes yields the nodes whose ids are greater than after, ordered by id, each
// with its containers, ordered by namespace and id. A node that has been silent
// is among them: see its ReportedAt. Errors: bucket.ErrUnavailable, after which
// the sequence ends.
func (f *Fleet) Nodes(ctx context.Context, after string) iter.Seq2[Node, error] { return nil }

// Node returns one node. The bool is false when there is none of that id.
// Errors: blobstore.ErrNodeInvalid when id is none; bucket.ErrUnavailable.
func (f *Fleet) Node(ctx context.Context, id string) (Node, bool, error) {
	return Node{}, false, errors.ErrUnsupported
}

// Register records a diff whose image has been pushed, and returns what is
// recorded. Chain IDs, the diff's descriptor and CreatedAt are filled in where
// they are empty. Registering the same again under the same id changes nothing.
// Errors: blobstore.ErrSnapshotInvalid when the id is no ULID or the parts do
// not fit together; ErrConflict when the id has been used for something else;
// ErrManifestUnknown; bucket.ErrUnavailable.
func (f *Fleet) Register(ctx context.Context, s Snapshot) (Snapshot, error) {
	return Snapshot{}, errors.ErrUnsupported
}

// Snapshots yields the snapshots, newest first: those with ids less than before
// if that is set, of repo if that is set. Errors: bucket.ErrUnavailable, after
// which the sequence ends.
func (f *Fleet) Snapshots(ctx context.Context, repo reference.Repository, before string) iter.Seq2[Snapshot, error] {
	return nil
}

// Snapshot returns one snapshot. Errors: blobstore.ErrSnapshotUnknown,
// bucket.ErrUnavailable.
func (f *Fleet) Snapshot(ctx context.Context, id string) (Snapshot, error) {
	return Snapshot{}, errors.ErrUnsupported
}

// DeleteSnapshot removes the registration. The image is not touched, and the id
// is not used again. Errors: blobstore.ErrSnapshotUnknown,
// bucket.ErrUnavailable.
func (f *Fleet) DeleteSnapshot(ctx context.Context, id string) error { return errors.ErrUnsupported }
