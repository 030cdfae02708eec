package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// A container is one of containerd's containers whose writable layer is here.
type container struct {
	*pb.Container
	snapshot string // the name of its writable layer in overlay
}

// Labels are shown, and so they are bounded.
const (
	maxLabels   = 64
	maxLabelLen = 1024
)

// containers lists the containers of all namespaces, ordered by namespace and
// id, without what they have written. One that is removed meanwhile is left out.
func (a *Agent) containers(ctx context.Context) ([]container, error) {
	names, err := a.containerd.NamespaceService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", errNoContainerd, a.cfg.Containerd, err)
	}
	var list []container
	for _, ns := range names {
		some, err := a.inNamespace(namespaces.WithNamespace(ctx, ns), ns)
		if err != nil {
			return nil, fmt.Errorf("containers of namespace %s: %w", ns, err)
		}
		list = append(list, some...)
	}
	slices.SortFunc(list, func(x, y container) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Id, y.Id))
	})
	a.keepImages(list)
	return list, nil
}

func (a *Agent) inNamespace(ctx context.Context, ns string) ([]container, error) {
	all, err := a.containerd.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c containers.Container) bool { return c.Snapshotter != a.cfg.Snapshotter })
	if len(all) == 0 {
		return nil, nil
	}
	states, err := a.states(ctx)
	if err != nil {
		return nil, err
	}
	snaps, err := a.cfg.Snapshots.Names(ctx, ns)
	if err != nil {
		return nil, err
	}
	var list []container
	for _, c := range all {
		name, ok := snaps[c.SnapshotKey]
		if !ok {
			continue // being made or removed
		}
		one, err := a.describe(ctx, ns, c, name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.ID, err)
		}
		one.State = states[c.ID]
		if one.State == pb.ContainerState_CONTAINER_STATE_UNSPECIFIED {
			one.State = pb.ContainerState_CONTAINER_STATE_STOPPED // it has no task
		}
		list = append(list, one)
	}
	return list, nil
}

// states tells the state of every task in the context's namespace.
func (a *Agent) states(ctx context.Context) (map[string]pb.ContainerState, error) {
	resp, err := a.containerd.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, err
	}
	states := make(map[string]pb.ContainerState, len(resp.Tasks))
	for _, t := range resp.Tasks {
		states[t.ID] = state(t.Status)
	}
	return states, nil
}

func state(s task.Status) pb.ContainerState {
	switch s {
	case task.Status_CREATED:
		return pb.ContainerState_CONTAINER_STATE_CREATED
	case task.Status_RUNNING:
		return pb.ContainerState_CONTAINER_STATE_RUNNING
	case task.Status_PAUSED, task.Status_PAUSING:
		return pb.ContainerState_CONTAINER_STATE_PAUSED
	default:
		return pb.ContainerState_CONTAINER_STATE_STOPPED
	}
}

func (a *Agent) describe(ctx context.Context, ns string, c containers.Container, snapshot string) (container, error) {
	info, err := a.cfg.Snapshots.Stat(ctx, snapshot)
	if err != nil {
		return container{}, err
	}
	p := &pb.Container{
		Namespace: ns, Id: c.ID, Image: printed(c.Image), ChainId: chainOf(info.Parent), NodeId: a.id,
		CreatedAt: timestamppb.New(c.CreatedAt), Labels: boundedLabels(c.Labels),
	}
	if p.ImageDigest, err = a.imageDigest(ctx, keyOf(ns, c.ID, c.CreatedAt), c.Image); err != nil {
		return container{}, err
	}
	return container{p, snapshot}, nil
}

// chainOf is the chain ID by which containerd calls a snapshot of an image's
// layers; empty for a snapshot that somebody has made in another way.
func chainOf(snapshot string) string {
	_, _, key, _ := overlay.ParseName(snapshot)
	if d, err := reference.ParseDigest(key); err == nil {
		return string(d)
	}
	return ""
}

// printed is a name as the server takes it; one that it did not take would keep
// all that there is on this node from being reported.
func printed(name string) string {
	const most = 1024
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, name)
	return strings.ToValidUTF8(name[:min(len(name), most)], "")
}

// measure finds out how much a container has written.
func (a *Agent) measure(ctx context.Context, c container) error {
	usage, err := a.cfg.Snapshots.Usage(ctx, c.snapshot)
	if err != nil && (errdefs.IsNotFound(err) || ctx.Err() != nil) {
		return err
	}
	if err != nil {
		// One that cannot be measured, because of paths that are too long to walk for
		// instance, keeps nobody from knowing the others.
		a.log.Debug("what a container has written cannot be measured", "namespace", c.Namespace, "container", c.Id, "error", err)
		return nil
	}
	c.WrittenBytes, c.WrittenInodes = usage.Size, usage.Inodes
	return nil
}

func boundedLabels(all map[string]string) map[string]string {
	keys := slices.Sorted(maps.Keys(all))
	out := make(map[string]string, min(len(keys), maxLabels))
	for _, k := range keys {
		if len(out) < maxLabels && len(k) <= maxLabelLen && len(all[k]) <= maxLabelLen {
			out[k] = all[k]
		}
	}
	return out
}

var errAmbiguous = errors.New("more than one container fits")
