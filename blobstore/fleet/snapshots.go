package fleet

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// snapshotRecord is what snapshots/<id> holds.
type snapshotRecord struct {
	record.Header
	Gone          bool                 `json:"gone,omitempty"`
	DeletedAt     time.Time            `json:"deletedAt,omitzero"`
	Repository    reference.Repository `json:"repository,omitempty"`
	Image         descriptorRecord     `json:"image,omitzero"`
	Tag           reference.Tag        `json:"tag,omitempty"`
	ParentDiffIDs []digest.Digest      `json:"parentDiffIDs,omitempty"`
	ParentChainID digest.Digest        `json:"parentChainID,omitempty"`
	ChainID       digest.Digest        `json:"chainID,omitempty"`
	Diff          descriptorRecord     `json:"diff,omitzero"`
	DiffID        digest.Digest        `json:"diffID,omitempty"`
	Container     containerRecord      `json:"container,omitzero"`
	NodeID        string               `json:"nodeID,omitempty"`
	CreatedAt     time.Time            `json:"createdAt,omitzero"`
	PausedMicros  int64                `json:"pausedMicros,omitempty"`
}

type descriptorRecord struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
}

func (s *Snapshot) record() *snapshotRecord {
	if len(s.ParentDiffIDs) == 0 {
		s.ParentDiffIDs = nil // as it is read back
	}
	return &snapshotRecord{
		Repository: s.Repository, Image: descriptorRecord(s.Image), Tag: s.Tag,
		ParentDiffIDs: s.ParentDiffIDs, ParentChainID: s.ParentChainID, ChainID: s.ChainID,
		Diff: descriptorRecord(s.Diff), DiffID: s.DiffID,
		Container: recordOf(s.Container), NodeID: s.NodeID,
		CreatedAt: s.CreatedAt.UTC().Round(0), PausedMicros: s.Paused.Microseconds(),
	}
}

func (r *snapshotRecord) snapshot(id string) Snapshot {
	return Snapshot{
		ID: id, Repository: r.Repository, Image: images.Descriptor(r.Image), Tag: r.Tag,
		ParentDiffIDs: r.ParentDiffIDs, ParentChainID: r.ParentChainID, ChainID: r.ChainID,
		Diff: images.Descriptor(r.Diff), DiffID: r.DiffID,
		Container: r.Container.container(r.NodeID), NodeID: r.NodeID,
		CreatedAt: r.CreatedAt, Paused: time.Duration(r.PausedMicros) * time.Microsecond,
	}
}

// same says whether r is what o would have been written as.
func (r *snapshotRecord) same(o *snapshotRecord) bool {
	a, b := *r, *o
	if !a.Container.equal(b.Container) || !a.CreatedAt.Equal(b.CreatedAt) {
		return false
	}
	a.Header, a.Container, a.CreatedAt = b.Header, b.Container, b.CreatedAt
	return reflect.DeepEqual(a, b)
}

const snapshotsPrefix = "snapshots/"

// checkID says whether id is a ULID as it is written.
func checkID(id string) bool {
	u, err := ulid.ParseStrict(id)
	return err == nil && u.String() == id
}

// Register records a diff whose image has been pushed, and returns what is
// recorded. Chain IDs, descriptors and CreatedAt are filled in where they are
// empty. Registering the same again under the same id changes nothing.
// Errors: blobstore.ErrSnapshotInvalid when the id is no ULID or the parts do
// not fit together; ErrConflict when the id has been used for something else;
// ErrNodeTaken when the node is not the Reporter's; ErrManifestUnknown;
// bucket.ErrUnavailable.
func (f *Fleet) Register(ctx context.Context, s Snapshot) (Snapshot, error) {
	if err := s.check(); err != nil {
		return Snapshot{}, err
	}
	if err := f.speaksFor(ctx, s.NodeID, s.Reporter); err != nil {
		return Snapshot{}, err
	}
	i, err := f.images.Image(ctx, s.Repository, reference.Locator{Digest: s.Image.Digest}, "")
	if err != nil {
		return Snapshot{}, err
	}
	if err := s.fit(&i); err != nil {
		return Snapshot{}, err
	}
	timed := !s.CreatedAt.IsZero()
	if !timed {
		s.CreatedAt = f.clock.Now()
	}
	r := s.record()
	// Not later: tombstones are removed some time, and a write that was stopped
	// before must not bring back a snapshot that was deleted.
	notAfter := f.clock.Now().Add(f.publishWithin)
	now, at, done, err := record.Swap(ctx, f.records, snapshotsPrefix+s.ID, record.Version{}, r, notAfter)
	if err != nil {
		return Snapshot{}, err
	}
	if !done && !timed {
		r.CreatedAt = now.CreatedAt
	}
	switch {
	case done || at != (record.Version{}) && !now.Gone && now.same(r):
		return now.snapshot(s.ID), nil
	case now.Gone:
		return Snapshot{}, remedy(fail(blobstore.ErrConflict, s.ID, "the snapshot of this id has been deleted"), "register it under a new id")
	default:
		return Snapshot{}, remedy(fail(blobstore.ErrConflict, s.ID, "the id is that of another snapshot"), "register it under a new id")
	}
}

// speaksFor says whether by may speak for the node id. Errors:
// blobstore.ErrNodeTaken.
func (f *Fleet) speaksFor(ctx context.Context, id string, by Reporter) error {
	if by == (Reporter{}) || by.Proven {
		return nil
	}
	r, _, err := record.Read[nodeRecord](ctx, f.records, nodesPrefix+id)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.mine(id, by, f.clock.Now().Sub(r.ReportedAt))
}

// Snapshots yields the snapshots, newest first: those with ids less than before
// if that is set, of repo if that is set. It lists all ids before it begins,
// a call to the bucket a thousand, and then takes a call for each. After an
// error the sequence ends. Errors: bucket.ErrUnavailable.
func (f *Fleet) Snapshots(ctx context.Context, repo reference.Repository, before string) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		var infos []bucket.Info
		for info, err := range f.bucket.List(ctx, snapshotsPrefix, "") {
			if err != nil {
				yield(Snapshot{}, err)
				return
			}
			if before != "" && info.Key >= snapshotsPrefix+before {
				break
			}
			infos = append(infos, info)
		}
		slices.Reverse(infos)
		list := func(yield func(bucket.Info, error) bool) {
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
		for s, err := range readahead.Map(ctx, list, f.listed) {
			if err == nil && (s.ID == "" || repo != "" && s.Repository != repo) {
				continue
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// listed reads a snapshot; it is zero when it has been deleted.
func (f *Fleet) listed(ctx context.Context, info bucket.Info) (Snapshot, error) {
	r, _, err := record.Read[snapshotRecord](ctx, f.records, info.Key)
	if absent(err) || err == nil && r.Gone {
		return Snapshot{}, nil
	}
	return r.snapshot(strings.TrimPrefix(info.Key, snapshotsPrefix)), err
}

// Snapshot returns one snapshot. Errors: blobstore.ErrSnapshotUnknown,
// bucket.ErrUnavailable.
func (f *Fleet) Snapshot(ctx context.Context, id string) (Snapshot, error) {
	if !checkID(id) {
		return Snapshot{}, NoSnapshot(id)
	}
	r, _, err := record.Read[snapshotRecord](ctx, f.records, snapshotsPrefix+id)
	if absent(err) || err == nil && r.Gone {
		return Snapshot{}, NoSnapshot(id)
	}
	return r.snapshot(id), err
}

// DeleteSnapshot removes the registration. The image is not touched, and the id
// is not used again. Errors: blobstore.ErrSnapshotUnknown,
// bucket.ErrUnavailable.
func (f *Fleet) DeleteSnapshot(ctx context.Context, id string) error {
	if !checkID(id) {
		return NoSnapshot(id)
	}
	_, _, err := record.Update(ctx, f.records, snapshotsPrefix+id, time.Time{}, func(r *snapshotRecord, exists bool) (bool, error) {
		if !exists || r.Gone {
			return false, NoSnapshot(id)
		}
		*r = snapshotRecord{Header: r.Header, Gone: true, DeletedAt: f.clock.Now().UTC()}
		return true, nil
	})
	return err
}

// NoSnapshot is the error of Snapshot for an id that is none's.
func NoSnapshot(id string) error {
	return remedy(fail(blobstore.ErrSnapshotUnknown, id, "never registered, or deleted"), "list the snapshots to find its id")
}
