package overlay

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// A Stack is where the files of a snapshot are. Until Release they stay there,
// also when containerd removes the snapshot meanwhile.
type Stack struct {
	// Info is of the snapshot itself.
	Info snapshots.Info
	// Upper is the folder with what the snapshot adds to its parents: for an
	// active one what was written to it, in overlayfs's form (whiteouts are
	// devices 0/0, trusted.overlay.* are overlayfs's own). Empty for a view.
	Upper string
	// Lowers are the folders of the parents, the nearest first.
	Lowers []string
	// Chain describes the parents, in the same order.
	Chain []snapshots.Info
	// Mounts are those of the snapshot; none when it is committed. An overlay
	// must not be mounted a second time while it is in use.
	Mounts []mount.Mount
	// ParentMounts show the parents alone, read-only, as often as you like.
	// None when there are no parents.
	ParentMounts []mount.Mount

	release func()
}

// Release lets the files go. A second call does nothing.
func (s *Stack) Release() { s.release() }

// Pin finds the files of a snapshot and keeps them in place. The caller calls
// Release on what is returned.
func (s *Snapshotter) Pin(ctx context.Context, name string) (*Stack, error) {
	var stack *Stack
	// Alone, so that nothing is removed between looking and holding.
	err := s.meta.alone(ctx, func() error {
		return s.meta.read(ctx, func(ctx context.Context) (err error) {
			stack, err = s.stack(ctx, name)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return stack, nil
}

func (s *Snapshotter) stack(ctx context.Context, name string) (*Stack, error) {
	id, info, _, err := storage.GetInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	stack := &Stack{Info: info}
	snap := storage.Snapshot{ID: id, Kind: info.Kind}
	for parent := info.Parent; parent != ""; {
		id, info, _, err := storage.GetInfo(ctx, parent)
		if err != nil {
			return nil, fmt.Errorf("parent %s: %w", parent, err)
		}
		snap.ParentIDs = append(snap.ParentIDs, id)
		stack.Lowers = append(stack.Lowers, s.root.fs(id))
		stack.Chain = append(stack.Chain, info)
		parent = info.Parent
	}
	if info.Kind != snapshots.KindView {
		stack.Upper = s.root.fs(id)
	}
	if info.Kind != snapshots.KindCommitted {
		stack.Mounts = s.mounts(snap)
	}
	if len(snap.ParentIDs) > 0 {
		stack.ParentMounts = s.readOnly(id, snap.ParentIDs)
	}
	held := append([]string{id}, snap.ParentIDs...)
	s.pins.hold(held)
	stack.release = sync.OnceFunc(func() {
		for _, id := range s.pins.release(held) {
			s.discard(id)
		}
	})
	return stack, nil
}

// Names maps containerd's own keys in a namespace to the names that snapshots
// have here. containerd may have several generations of a key, of which all but
// the latest wait for its collector; the latest is returned.
func (s *Snapshotter) Names(ctx context.Context, namespace string) (map[string]string, error) {
	ids, err := s.meta.ids(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	latest := map[string]uint64{}
	for _, name := range ids {
		ns, seq, key, ok := ParseName(name)
		if ok && ns == namespace && seq >= latest[key] {
			latest[key], names[key] = seq, name
		}
	}
	return names, nil
}

// ParseName splits the name that containerd's metadata gives a snapshot here,
// NAMESPACE/SEQUENCE/KEY, where KEY is what its own clients call it.
func ParseName(name string) (namespace string, seq uint64, key string, ok bool) {
	namespace, rest, ok := strings.Cut(name, "/")
	if !ok || namespace == "" {
		return "", 0, "", false
	}
	number, key, ok := strings.Cut(rest, "/")
	if !ok || key == "" {
		return "", 0, "", false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return namespace, seq, key, err == nil
}
