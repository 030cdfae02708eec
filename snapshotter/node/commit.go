package node

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/oklog/ulid/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/snapshotter/capture"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// Commit implements lamina.v1.Containers.
func (s *service) Commit(in *pb.ContainersCommitRequest, stream grpc.ServerStreamingServer[pb.ContainersCommitResponse]) error {
	ctx := stream.Context()
	t := newTeller(stream)
	defer t.end()
	res, err := s.agent.commit(ctx, in, t)
	if err != nil {
		return asStatus(err)
	}
	return t.result(res)
}

// commit makes an image of what a container wrote. Names come last: whatever
// fails, the tag is as it was.
func (a *Agent) commit(ctx context.Context, in *pb.ContainersCommitRequest, t *teller) (*pb.CommitResult, error) {
	to, err := a.target(ctx, in.Reference)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	c, err := a.find(ctx, in.Namespace, in.Container)
	if err != nil {
		return nil, err
	}
	release, err := a.claim(c)
	if err != nil {
		return nil, err
	}
	defer release()
	stack, err := a.cfg.Snapshots.Pin(ctx, c.snapshot)
	if err != nil {
		return nil, a.vanished(c, err)
	}
	defer stack.Release()
	b, err := a.base(ctx, c, to)
	if err != nil {
		return nil, err
	}
	mediaType, err := layerType(b.manifest.MediaType, in.Compression)
	if err != nil {
		return nil, err
	}
	// What cannot be is said before anything stands still.
	if _, err := applyInstructions(nil, in.Changes); err != nil {
		return nil, err
	}
	if err := capture.CheckPatterns(in.Exclude); err != nil {
		return nil, err
	}
	if err := a.measure(ctx, c); err != nil {
		return nil, a.vanished(c, err)
	}

	spool, got, stood, err := a.read(ctx, c, stack, in, t)
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	tar, err := spool.Reader(ctx)
	if err != nil {
		return nil, err
	}
	l, err := compress(ctx, tar, a.cfg.Root, mediaType, func(n int64) { t.at(pb.CommitStep_COMMIT_STEP_COMPRESS, n, got.Size) })
	if err != nil {
		return nil, err
	}
	defer l.close()

	now := time.Now()
	img, err := compose(b, l, c, in, now)
	if err != nil {
		return nil, err
	}
	t.at(pb.CommitStep_COMMIT_STEP_PUSH, 0, l.Size)
	if err := a.push(ctx, c, to, b, img, l, func(n int64) { t.at(pb.CommitStep_COMMIT_STEP_PUSH, n, l.Size) }); err != nil {
		return nil, err
	}
	if err := a.stillThere(ctx, c); err != nil {
		return nil, err
	}
	if err := to.PutManifest(ctx, to.ref.Repository, img.manifestDesc, img.manifest, to.ref.Tag); err != nil {
		return nil, err
	}
	snap := &pb.Snapshot{
		Id: ulid.Make().String(), Repository: string(to.ref.Repository), Image: descriptor(img.manifestDesc), Tag: string(to.ref.Tag),
		ParentChainId: c.ChainId, ChainId: string(img.chainID), Diff: descriptor(l.Descriptor), DiffId: string(l.diffID),
		Container: c.Container, NodeId: a.id, CreatedAt: timestamppb.New(now), PausedUs: stood.Microseconds(),
	}
	for _, d := range b.diffIDs {
		snap.ParentDiffIds = append(snap.ParentDiffIds, string(d))
	}
	if snap, err = to.Register(ctx, snap); err != nil {
		return nil, fmt.Errorf("the image %s has been pushed, and could not be registered as made of this container: %w", to.ref, err)
	}
	ref := to.ref
	ref.Digest = img.manifestDesc.Digest
	res := &pb.CommitResult{Snapshot: snap, Reference: ref.String(), Added: got.Added, Changed: got.Changed, Deleted: got.Deleted}
	for _, n := range got.Skipped {
		res.Skipped = append(res.Skipped, printable(n.String()))
	}
	for _, n := range got.Altered {
		res.Altered = append(res.Altered, printable(n.String()))
	}
	return res, nil
}

// read reads what the container wrote into a spool, while it stands still.
func (a *Agent) read(ctx context.Context, c container, stack *overlay.Stack, in *pb.ContainersCommitRequest, t *teller) (*capture.Spool, capture.Result, time.Duration, error) {
	if err := a.enoughRoom(c); err != nil {
		return nil, capture.Result{}, 0, err
	}
	spool, err := capture.NewSpool(a.cfg.Root)
	if err != nil {
		return nil, capture.Result{}, 0, err
	}
	if err := syncFilesystem(stack.Upper); err != nil { // so that little is left to do while it stands still
		spool.Close()
		return nil, capture.Result{}, 0, err
	}
	t.at(pb.CommitStep_COMMIT_STEP_READ, 0, c.WrittenBytes)
	var got capture.Result
	stood, err := a.frozen(ctx, c, !in.NoPause, func() (err error) {
		if err = syncFilesystem(stack.Upper); err != nil {
			return err
		}
		got, err = capture.Write(ctx, spool, capture.Options{
			Upper: stack.Upper, Lowers: stack.Lowers, Exclude: in.Exclude, MaxPath: maxPath,
			OnProgress: func(n int64) { t.at(pb.CommitStep_COMMIT_STEP_READ, n, c.WrittenBytes) },
		})
		return err
	})
	if err != nil {
		spool.Close()
		return nil, got, stood, err
	}
	return spool, got, stood, nil
}

// maxPath is the longest path that goes into a layer: PATH_MAX, less the folder
// into which somebody unpacks it.
const maxPath = unix.PathMax - 256

// spare is what a commit leaves free on the disk, in bytes.
const spare = 64 << 20

// enoughRoom says whether what the container wrote fits on the disk once more.
func (a *Agent) enoughRoom(c container) error {
	var st unix.Statfs_t
	if err := unix.Statfs(a.cfg.Root, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", a.cfg.Root, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < c.WrittenBytes+spare {
		return status.Errorf(codes.ResourceExhausted, "%s has %d MB free, and %s/%s wrote %d MB, which are copied there for a commit; make room",
			a.cfg.Root, free>>20, c.Namespace, c.Id, c.WrittenBytes>>20)
	}
	return nil
}

func syncFilesystem(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the filesystem of %s: %w", path, err)
	}
	return nil
}

// claim keeps others from committing the container at the same time.
func (a *Agent) claim(c container) (release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := c.Namespace + "/" + c.Id
	if a.commits[key] {
		return nil, fmt.Errorf("%w: %s is being committed already; wait for that", errBusy, key)
	}
	a.commits[key] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.commits, key)
	}, nil
}

// stillThere fails when the container has been removed meanwhile.
func (a *Agent) stillThere(ctx context.Context, c container) error {
	now, err := a.containerd.ContainerService().Get(namespaces.WithNamespace(ctx, c.Namespace), c.Id)
	if errdefs.IsNotFound(err) || err == nil && !now.CreatedAt.Equal(c.CreatedAt.AsTime()) {
		return fmt.Errorf("%w: %s/%s was removed while it was being committed; no image was made", errBusy, c.Namespace, c.Id)
	}
	return err
}

// vanished explains that a container's snapshot is not there.
func (a *Agent) vanished(c container, err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %s/%s is being removed", errBusy, c.Namespace, c.Id)
	}
	return err
}

func descriptor(d ocispec.Descriptor) *pb.Descriptor {
	return &pb.Descriptor{Digest: string(d.Digest), Size: d.Size, MediaType: d.MediaType}
}
