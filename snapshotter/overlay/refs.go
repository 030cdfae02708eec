package overlay

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// refs finds snapshots by their label containerd.io/snapshot.ref. containerd
// asks for one by it for each layer of a pull, and the metadata could only be
// read from end to end. It is derived from the metadata and kept in memory.
type refs struct {
	mu    sync.RWMutex
	byRef map[string]map[string]struct{} // ref → names
	refOf map[string]string              // name → ref
}

func loadRefs(ctx context.Context, m *metadata) (*refs, error) {
	r := &refs{byRef: map[string]map[string]struct{}{}, refOf: map[string]string{}}
	err := m.read(ctx, func(ctx context.Context) error {
		return orEmpty(storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			r.set(info.Name, info.Labels[snapshots.LabelSnapshotRef])
			return nil
		}))
	})
	return r, err
}

// set records the label of a snapshot. An empty ref means that the snapshot has
// none, or is gone. To be called in the order of the transactions.
func (r *refs) set(name, ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.refOf[name]; ok {
		delete(r.refOf, name)
		delete(r.byRef[old], name)
		if len(r.byRef[old]) == 0 {
			delete(r.byRef, old)
		}
	}
	if ref == "" {
		return
	}
	r.refOf[name] = ref
	if r.byRef[ref] == nil {
		r.byRef[ref] = map[string]struct{}{}
	}
	r.byRef[ref][name] = struct{}{}
}

// names lists the snapshots with this ref, sorted.
func (r *refs) names(ref string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.byRef[ref]))
}

// refFilter is the filter that containerd walks with after a Prepare that said
// ErrAlreadyExists (core/metadata/snapshot.go); the parent may be left out.
var refFilter = regexp.MustCompile(`^labels\."containerd\.io/snapshot\.ref"==([A-Za-z0-9:+._-]+)(?:,parent==("(?:[^"\\]|\\.)*"))?$`)

// A refQuery is such a filter, read.
type refQuery struct {
	ref       string
	parent    string
	anyParent bool
}

// parseRefFilter reads filters that ask for snapshots by their ref. Any others
// are not ok, and left to containerd's own parser.
func parseRefFilter(filters []string) (q refQuery, ok bool) {
	if len(filters) != 1 {
		return refQuery{}, false
	}
	match := refFilter.FindStringSubmatch(filters[0])
	if match == nil {
		return refQuery{}, false
	}
	if match[2] == "" {
		return refQuery{ref: match[1], anyParent: true}, true
	}
	parent, err := strconv.Unquote(match[2])
	if err != nil {
		return refQuery{}, false
	}
	return refQuery{ref: match[1], parent: parent}, true
}
